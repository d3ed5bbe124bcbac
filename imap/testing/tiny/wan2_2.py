"""A tiny Wan 2.2 A14B: the tiny Wan 2.1 with a second transformer for the later half of the steps."""

from diffusers import WanPipeline

from imap.testing.tiny import wan
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> WanPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    one = wan.build(seed)
    with seeded(seed + 1):
        second = wan.transformer().eval()
    return WanPipeline(**{**one.components, "transformer_2": second, "boundary_ratio": 0.875})
