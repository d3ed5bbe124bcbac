"""Tiny real diffusers pipelines with random weights: what tests, examples and a first try run on without a download."""

from collections.abc import Callable
from pathlib import Path

from diffusers import DiffusionPipeline

from imap.testing.tiny import cogvideox, hunyuanvideo, wan
from imap.testing.tiny.folders import saved

_BUILDERS = {"cogvideox": cogvideox.build, "wan": wan.build, "hunyuanvideo": hunyuanvideo.build}

FAMILIES = tuple(_BUILDERS)


def build(family: str, seed: int = 0) -> DiffusionPipeline:
    """Returns a tiny pipeline of `family` on the CPU in float32; the same seed gives the same weights.

    The state of torch's random numbers is the same after the call as before.
    Raises ValueError for a family that is not in FAMILIES.
    """
    return _builder(family)(seed)


def folder(family: str, root: Path | None = None) -> Path:
    """Returns a folder that holds build(family), for DiffusionPipeline.from_pretrained; it is written only once.

    root: where the folder lies; by default `imap` in $XDG_CACHE_HOME or ~/.cache, or in the temporary folder where
    those cannot be written. Its name carries the versions of diffusers and transformers that wrote it.
    Raises ValueError for a family that is not in FAMILIES, OSError where the folder cannot be written.
    """
    return saved(family, _builder(family), root)


def _builder(family: str) -> Callable[..., DiffusionPipeline]:
    if family not in _BUILDERS:
        raise ValueError(f"expected a family among {', '.join(FAMILIES)}, got {family!r}")
    return _BUILDERS[family]
