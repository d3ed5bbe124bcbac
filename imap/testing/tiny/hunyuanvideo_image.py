"""Tiny HunyuanVideo pipelines from a picture, which Llava reads before the prompt: of 16 and of 33 channels."""

from typing import Any

from diffusers import HunyuanVideoImageToVideoPipeline
from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

from imap.testing.tiny import hunyuanvideo, tokenizers
from imap.testing.tiny.seeding import seeded

try:  # of transformers 5, without torchvision
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:
    from transformers import CLIPImageProcessor

PICTURE = 48  # pixels of the picture's side, as the image encoder gets it: 24 x 24 patches, as the pipeline expects


def i2v(seed: int = 0) -> HunyuanVideoImageToVideoPipeline:
    """Build the pipeline whose picture is the first latent frame."""
    return _build(seed, image_condition_type="token_replace")


def i2v_33ch(seed: int = 0) -> HunyuanVideoImageToVideoPipeline:
    """Build the pipeline whose picture is in the channels of the video."""
    return _build(seed, image_condition_type="latent_concat", in_channels=33, guidance_embeds=False)


def _build(seed: int, **changed: Any) -> HunyuanVideoImageToVideoPipeline:
    parts, tokenizer = hunyuanvideo.build(seed).components, tokenizers.llava()
    with seeded(seed + 1):
        transformer, llava = hunyuanvideo.transformer(**changed), LlavaForConditionalGeneration(_llava(tokenizer))
    processor: Any = CLIPImageProcessor(
        size={"shortest_edge": PICTURE}, crop_size={"height": PICTURE, "width": PICTURE}
    )
    own = {"transformer": transformer.eval(), "text_encoder": llava.eval(), "tokenizer": tokenizer}
    return HunyuanVideoImageToVideoPipeline(**{**parts, **own, "image_processor": processor})


def _llava(tokenizer: Any) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=PICTURE,
        patch_size=2,
    )
    tokens = {"image_token_index": "<image>", "pad_token_id": tokenizer.pad_token}
    ids: Any = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    return LlavaConfig(vision_config=vision, text_config=hunyuanvideo.text_config(tokenizer), **ids)
