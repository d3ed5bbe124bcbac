"""A tiny HunyuanVideo Framepack: sections behind a packed history, SigLIP tokens before the text."""

from typing import Any

import transformers
from diffusers import HunyuanVideoFramepackPipeline, HunyuanVideoFramepackTransformer3DModel
from transformers import SiglipVisionConfig, SiglipVisionModel

from imap.testing.tiny import hunyuanvideo
from imap.testing.tiny.seeding import seeded

IMAGE_WIDTH, PICTURE = 16, 32


def build(seed: int = 0) -> HunyuanVideoFramepackPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    parts = hunyuanvideo.build(seed)
    own = {key: x for key, x in parts.transformer.config.items() if not key.startswith("_")}
    del own["image_condition_type"]
    history = {"has_image_proj": True, "image_proj_dim": IMAGE_WIDTH, "has_clean_x_embedder": True}
    with seeded(seed):
        transformer = HunyuanVideoFramepackTransformer3DModel(**own | history).eval()
        encoder = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=IMAGE_WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=PICTURE,
                patch_size=8,
            )
        ).eval()
    # of transformers 5, without torchvision; else the only one
    processor: Any = getattr(transformers, "SiglipImageProcessorPil", None) or transformers.SiglipImageProcessor
    pictures = {"image_encoder": encoder, "feature_extractor": processor(size={"height": PICTURE, "width": PICTURE})}
    return HunyuanVideoFramepackPipeline(**{**parts.components, "transformer": transformer, **pictures})
