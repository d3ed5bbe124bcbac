"""Shared by the tests: families of tiny pipelines, sizes and pictures for them, and configurations."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from imap.backbones import backbone_of
from imap.config.overrides import literal
from imap.config.presets import config_folder
from imap.testing import tiny

PROMPT = "A red ball rolls past a small dog on the grass."
SIZES = {"height": 32, "width": 48, "num_frames": 9}
FAMILIES = tiny.FAMILIES
SLOW_FAMILIES = (*tiny.FURTHER, *tiny.NOT_SAVED)
EVERY_FAMILY = (*FAMILIES, *(pytest.param(family, marks=pytest.mark.slow) for family in SLOW_FAMILIES))
# whose pipelines take no noised latents
NOT_RENOISED = ("ltx_condition", "ltx2", "ltx2_i2v", "skyreels_v2_forcing", "framepack", "hunyuanvideo_i2v_33ch")
RENOISED = tuple(x for x in EVERY_FAMILY if isinstance(x, str) or x.values[0] not in NOT_RENOISED)

TWO_CALLS = (
    "wan",
    "chronoedit",
    "skyreels",
    "cosmos",
    "hunyuanvideo1_5",
    "hunyuan_skyreels",
    "motif",
    "kandinsky",
)  # begin so: guidance is a second call


def sizes_of(family: str) -> dict[str, int]:
    """Size of a video of 3 x 2 x 3 tokens."""
    return SIZES | {
        "cogvideox1_5": {"num_frames": 17},
        "cogvideox1_5_i2v": {"num_frames": 17},
        "mochi": {"num_frames": 13},
        "hunyuanvideo_i2v_33ch": {"num_frames": 13},  # the first four are left out
        "allegro": {"num_frames": 12},
        "framepack": {"latent_window_size": 3},  # one section
        "ltx": {"height": 64, "width": 96, "num_frames": 17},
        "sana_video": {"height": 64, "width": 96},
        "wan2_2_ti2v": {"height": 64, "width": 96},
        "wan2_2_ti2v_i2v": {"height": 64, "width": 96},
    }.get("ltx" if family.startswith("ltx") else family, {})


def pictures_for(pipe) -> dict[str, Image.Image]:
    """Pictures that a pipeline's call needs, by argument."""
    pixels = np.random.default_rng(3).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    return {name: Image.fromarray(pixels) for name in backbone_of(pipe).images}


@cache
def _composed(command: str, *choices: str) -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose(command, list(choices))


def composed(command: str, *arguments: str) -> DictConfig:
    """The configuration of a command line. Hydra composes once per backbone, which takes most of the time.

    command: sampling, renoising, figures ... arguments: settings as typed.
    """
    choices = [x for x in arguments if x.partition("=")[0] in ("backbone", "experiment", "method")]
    config = deepcopy(_composed(command, *choices))
    for argument in arguments:
        if argument not in choices:
            override = OverridesParser.create().parse_override(literal(argument))
            OmegaConf.update(config, override.key_or_group, override.value())
    return config
