"""A tiny ChronoEdit: built like the tiny Wan2.1 from a picture."""

from typing import Any

from diffusers import ChronoEditPipeline, ChronoEditTransformer3DModel

from imap.testing.tiny import wan, wan_image
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> ChronoEditPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    parts = wan_image.i2v(seed).components
    layout: dict[str, Any] = {"in_channels": 36, "image_dim": wan_image.IMAGE_WIDTH, "added_kv_proj_dim": 144}
    with seeded(seed + 1):
        transformer = ChronoEditTransformer3DModel(**wan.SIZE | layout).eval()
    names = ("tokenizer", "text_encoder", "vae", "scheduler", "image_encoder", "image_processor")
    return ChronoEditPipeline(transformer=transformer, **{name: parts[name] for name in names})
