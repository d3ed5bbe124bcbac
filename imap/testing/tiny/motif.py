"""A tiny Motif-Video: 3 dual-stream blocks of 6 heads, 2 single-stream blocks, the first with text cross-attention."""

from typing import Any

from diffusers import (
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    MotifVideoImage2VideoPipeline,
    MotifVideoPipeline,
    MotifVideoTransformer3DModel,
)
from torch import nn
from transformers import T5Gemma2Encoder, T5Gemma2EncoderConfig

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

try:  # of transformers 5, without torchvision
    from transformers import SiglipImageProcessorPil as SiglipImageProcessor
except ImportError:
    from transformers import SiglipImageProcessor

TEXT_WIDTH = 32
PICTURE, IMAGE_WIDTH = 28, 16  # pixels of the picture's side, as the image encoder gets it, and width of its tokens


def build(seed: int = 0, **layout: Any) -> MotifVideoPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights.

    Args:
        seed: Seed of the weights.
        layout: Other values of the transformer's configuration.
    """
    tokenizer: Any = tokenizers.gemma()
    tokenizer.padding_side = "right"
    features: Any = SiglipImageProcessor(size={"height": PICTURE, "width": PICTURE})
    with seeded(seed):
        return MotifVideoPipeline(
            tokenizer=tokenizer,
            text_encoder=_text_encoder(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=_transformer(**layout).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            guider=ClassifierFreeGuidance(guidance_scale=8.0),
            feature_extractor=features,
        )


def i2v(seed: int = 0) -> MotifVideoImage2VideoPipeline:
    """Build the pipeline that starts from a picture."""
    return MotifVideoImage2VideoPipeline(**build(seed).components)


def _transformer(**layout: Any) -> MotifVideoTransformer3DModel:
    config: dict[str, Any] = {
        "num_layers": 3,
        "num_single_layers": 2,
        "num_decoder_layers": 1,
        "enable_text_cross_attention_single": True,
        "num_attention_heads": 6,
        "attention_head_dim": 16,
        "rope_axes_dim": (4, 6, 6),  # frames, height, width: even numbers; their sum is the head width
        "text_embed_dim": TEXT_WIDTH,
        "image_embed_dim": IMAGE_WIDTH,
    }
    transformer = MotifVideoTransformer3DModel(**config | layout)
    for name, weight in transformer.named_parameters():
        if ".attn.norm_" in name:  # not ones, which no norm would need
            nn.init.uniform_(weight, 0.5, 1.5)
    return transformer


def _vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, z_dim=16)


def _text_encoder(tokens: int) -> T5Gemma2Encoder:
    text: Any = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": tokens}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8}
    text |= {"initializer_range": TEXT_WIDTH**-0.5, "dropout_rate": 0.0}
    vision = {"hidden_size": IMAGE_WIDTH, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": PICTURE, "patch_size": 7}
    config = T5Gemma2EncoderConfig(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return T5Gemma2Encoder(config)
