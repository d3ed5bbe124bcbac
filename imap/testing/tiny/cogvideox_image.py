"""Tiny CogVideoX pipelines that start from a picture, of 1.0 and of 1.5."""

from typing import Any

from diffusers import CogVideoXImageToVideoPipeline

from imap.testing.tiny import cogvideox, cogvideox1_5
from imap.testing.tiny.seeding import seeded


def i2v(seed: int = 0) -> CogVideoXImageToVideoPipeline:
    """A tiny CogVideoX image-to-video pipeline."""
    return _from_picture(seed, cogvideox.build(seed).components, use_rotary_positional_embeddings=True)


def i2v_1_5(seed: int = 0) -> CogVideoXImageToVideoPipeline:
    """A tiny CogVideoX 1.5 image-to-video pipeline."""
    return _from_picture(seed, cogvideox1_5.build(seed).components, **cogvideox1_5.LAYOUT, ofs_embed_dim=64)


def _from_picture(seed: int, parts: dict[str, Any], **layout: Any) -> CogVideoXImageToVideoPipeline:
    with seeded(seed):
        transformer = cogvideox.transformer(in_channels=32, **layout).eval()
    return CogVideoXImageToVideoPipeline(**{**parts, "transformer": transformer})
