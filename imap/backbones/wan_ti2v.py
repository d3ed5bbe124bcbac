"""Wan2.2 TI2V: one model for text and picture, whose VAE divides space by 16. Each token has a timestep."""

from collections.abc import Mapping
from typing import Any

from imap.backbones.wan import WanBlocks


class WanTI2V(WanBlocks):
    """Wan2.2 TI2V-5B from text."""

    family = "wan2_2_ti2v"
    spatial_factor = 16

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return bool(pipeline.get("expand_timesteps"))


class WanTI2VImage(WanTI2V):
    """Wan2.2 TI2V-5B from a picture, which is the first latent frame."""

    family = "wan2_2_ti2v_i2v"
    pipeline_class = "WanImageToVideoPipeline"
    also_loads = (WanTI2V.pipeline_class,)
    images = ("image",)
    clean_frames = 1
