"""Tiny pipelines of real diffusers classes with random weights, for tests and examples without a download."""

from collections.abc import Callable
from pathlib import Path

from diffusers import DiffusionPipeline

from imap.testing.tiny import (
    allegro,
    cogvideox,
    cogvideox1_5,
    cogvideox_image,
    hunyuanvideo,
    ltx,
    mochi,
    wan,
    wan2_2,
    wan_image,
)
from imap.testing.tiny.folders import saved

_MAIN = {"cogvideox": cogvideox.build, "wan": wan.build, "hunyuanvideo": hunyuanvideo.build}
_FURTHER = {
    "wan2_2": wan2_2.build,
    "cogvideox1_5": cogvideox1_5.build,
    "mochi": mochi.build,
    "ltx": ltx.build,
    "allegro": allegro.build,
    "cogvideox_i2v": cogvideox_image.i2v,
    "cogvideox1_5_i2v": cogvideox_image.i2v_1_5,
    "wan_i2v": wan_image.i2v,
    "wan_flf2v": wan_image.flf2v,
    "wan2_2_i2v": wan_image.a14b_i2v,
    "wan2_2_ti2v": wan_image.ti2v,
    "wan2_2_ti2v_i2v": wan_image.ti2v_i2v,
    "wan_vace": wan_image.vace,
    "wan2_2_vace": wan_image.vace_a14b,
}
_BUILDERS: dict[str, Callable[..., DiffusionPipeline]] = {**_MAIN, **_FURTHER}

FAMILIES = tuple(_MAIN)  # which have a configuration and a demo model
FURTHER = tuple(_FURTHER)


def build(family: str, seed: int = 0) -> DiffusionPipeline:
    """Build a tiny pipeline on the CPU in float32. The state of torch's random numbers does not change.

    Args:
        family: One of FAMILIES or FURTHER.
        seed: Seed of the weights.

    Raises:
        ValueError: The family is not known.
    """
    return _builder(family)(seed)


def folder(family: str, root: Path | None = None) -> Path:
    """Folder of `build(family)` for DiffusionPipeline.from_pretrained. It is written once and then reused.

    Args:
        family: One of FAMILIES or FURTHER.
        root: Parent folder. By default it is `imap` in $XDG_CACHE_HOME or ~/.cache, or in the temporary folder if these
            are not writable. The folder's name contains the versions of diffusers and transformers that wrote it.

    Raises:
        ValueError: The family is not known.
        OSError: The folder cannot be written.
    """
    return saved(family, _builder(family), root)


def _builder(family: str) -> Callable[..., DiffusionPipeline]:
    if family not in _BUILDERS:
        raise ValueError(f"expected a family among {', '.join(_BUILDERS)}, got {family!r}")
    return _BUILDERS[family]
