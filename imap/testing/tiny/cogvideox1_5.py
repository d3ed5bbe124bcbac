"""A tiny CogVideoX 1.5: the tiny CogVideoX with two latent frames in each token."""

from diffusers import CogVideoXPipeline

from imap.testing.tiny import cogvideox
from imap.testing.tiny.seeding import seeded

LAYOUT = {"patch_size_t": 2, "patch_bias": False, "use_rotary_positional_embeddings": True}


def build(seed: int = 0) -> CogVideoXPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    earlier = cogvideox.build(seed)
    with seeded(seed):
        transformer = cogvideox.transformer(**LAYOUT).eval()
    return CogVideoXPipeline(**{**earlier.components, "transformer": transformer})
