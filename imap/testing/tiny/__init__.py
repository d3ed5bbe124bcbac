"""Tiny pipelines of real diffusers classes with random weights, for tests and examples without a download."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import diffusers
from diffusers import DiffusionPipeline
from packaging.version import parse

from imap.testing.tiny.folders import saved

_MAIN = {"cogvideox": "cogvideox.build", "wan": "wan.build", "hunyuanvideo": "hunyuanvideo.build"}
_FURTHER = {  # family: pipeline class, and the function that builds it
    "wan2_2": ("WanPipeline", "wan2_2.build"),
    "cogvideox1_5": ("CogVideoXPipeline", "cogvideox1_5.build"),
    "mochi": ("MochiPipeline", "mochi.build"),
    "ltx": ("LTXPipeline", "ltx.build"),
    "ltx_i2v": ("LTXImageToVideoPipeline", "ltx_pipelines.i2v"),
    "ltx_condition": ("LTXConditionPipeline", "ltx_pipelines.condition"),
    "ltx2": ("LTX2Pipeline", "ltx2.build"),
    "ltx2_i2v": ("LTX2ImageToVideoPipeline", "ltx2.i2v"),
    "allegro": ("AllegroPipeline", "allegro.build"),
    "cogvideox_i2v": ("CogVideoXImageToVideoPipeline", "cogvideox_image.i2v"),
    "cogvideox1_5_i2v": ("CogVideoXImageToVideoPipeline", "cogvideox_image.i2v_1_5"),
    "wan_i2v": ("WanImageToVideoPipeline", "wan_image.i2v"),
    "wan_flf2v": ("WanImageToVideoPipeline", "wan_image.flf2v"),
    "wan2_2_i2v": ("WanImageToVideoPipeline", "wan_image.a14b_i2v"),
    "wan2_2_ti2v": ("WanPipeline", "wan_image.ti2v"),
    "wan2_2_ti2v_i2v": ("WanImageToVideoPipeline", "wan_image.ti2v_i2v"),
    "wan_vace": ("WanVACEPipeline", "wan_image.vace"),
    "wan2_2_vace": ("WanVACEPipeline", "wan_image.vace_a14b"),
    "skyreels_v2": ("SkyReelsV2Pipeline", "skyreels_v2.build"),
    "skyreels_v2_i2v": ("SkyReelsV2ImageToVideoPipeline", "skyreels_v2.i2v"),
    "skyreels_v2_forcing": ("SkyReelsV2DiffusionForcingPipeline", "skyreels_v2.forcing"),
    "framepack": ("HunyuanVideoFramepackPipeline", "framepack.build"),
    "hunyuan_skyreels_i2v": ("HunyuanSkyreelsImageToVideoPipeline", "hunyuanvideo.skyreels_i2v"),
    "hunyuanvideo_i2v": ("HunyuanVideoImageToVideoPipeline", "hunyuanvideo_image.i2v"),
    "hunyuanvideo_i2v_33ch": ("HunyuanVideoImageToVideoPipeline", "hunyuanvideo_image.i2v_33ch"),
    "hunyuanvideo1_5": ("HunyuanVideo15Pipeline", "hunyuanvideo1_5.build"),
    "hunyuanvideo1_5_i2v": ("HunyuanVideo15ImageToVideoPipeline", "hunyuanvideo1_5.i2v"),
    "anyflow": ("AnyFlowPipeline", "anyflow.build"),
    "chronoedit": ("ChronoEditPipeline", "chronoedit.build"),
    "sana_video": ("SanaVideoPipeline", "sana_video.build"),
    "easyanimate": ("EasyAnimatePipeline", "easyanimate.build"),
    "motif": ("MotifVideoPipeline", "motif.build"),
    "motif_i2v": ("MotifVideoImage2VideoPipeline", "motif.i2v"),
    "kandinsky5": ("Kandinsky5T2VPipeline", "kandinsky5.build"),
}
_NOT_SAVED = {"cosmos2_5": ("Cosmos2_5_PredictBasePipeline", "cosmos2_5.build")}  # with a part that cannot be written
_LATER = {"wan_vace": "0.36", "wan2_2_vace": "0.36"}  # the first diffusers in which imap reads an older class
_BUILDERS = _MAIN | {
    name: builder
    for name, (kind, builder) in {**_FURTHER, **_NOT_SAVED}.items()
    if kind in dir(diffusers) and parse(diffusers.__version__) >= parse(_LATER.get(name, "0"))
}

FAMILIES = tuple(_MAIN)  # which have a configuration and a demo model
FURTHER = tuple(name for name in _FURTHER if name in _BUILDERS)  # that the installed diffusers has
NOT_SAVED = tuple(name for name in _NOT_SAVED if name in _BUILDERS)


def build(family: str, seed: int = 0) -> DiffusionPipeline:
    """Build a tiny pipeline on the CPU in float32. The state of torch's random numbers does not change.

    Args:
        family: One of FAMILIES, FURTHER or NOT_SAVED.
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
    module, _, name = _BUILDERS[family].partition(".")
    return getattr(import_module(f"{__name__}.{module}"), name)
