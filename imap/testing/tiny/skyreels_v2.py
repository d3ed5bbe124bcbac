"""Tiny SkyReels-V2 pipelines: text and image to video, and diffusion forcing."""

from typing import Any

from diffusers import (
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2ImageToVideoPipeline,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
)
from transformers import CLIPVisionModelWithProjection

from imap.testing.tiny import wan, wan_image
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> SkyReelsV2Pipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    return SkyReelsV2Pipeline(**_parts(seed))


def i2v(seed: int = 0) -> SkyReelsV2ImageToVideoPipeline:
    """The same, from a picture."""
    width = wan_image.IMAGE_WIDTH
    parts = _parts(seed, in_channels=36, image_dim=width, added_kv_proj_dim=144)
    with seeded(seed + 1):
        encoder = CLIPVisionModelWithProjection(wan_image.vision(projection_dim=width)).eval()
    return SkyReelsV2ImageToVideoPipeline(**parts, image_encoder=encoder, image_processor=wan_image.image_processor())


def forcing(seed: int = 0) -> SkyReelsV2DiffusionForcingPipeline:
    """The same blocks with diffusion forcing."""
    return SkyReelsV2DiffusionForcingPipeline(**_parts(seed))


def _parts(seed: int, **layout: Any) -> dict[str, Any]:
    parts = wan.build(seed).components
    with seeded(seed):
        transformer = SkyReelsV2Transformer3DModel(**wan.SIZE | layout).eval()
    names = ("tokenizer", "text_encoder", "vae", "scheduler")
    return {name: parts[name] for name in names} | {"transformer": transformer}
