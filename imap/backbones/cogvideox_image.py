"""CogVideoX from a picture, whose latents are in the channels of the video."""

from collections.abc import Mapping
from typing import Any

from imap.backbones.cogvideox import CogVideoXBlocks
from imap.backbones.cogvideox1_5 import CogVideoX15Blocks


class CogVideoXImage(CogVideoXBlocks):
    """CogVideoX image-to-video, 5B. Control models (Fun) are built like it, and are traced with a call of their own."""

    family = "cogvideox_i2v"
    pipeline_class = "CogVideoXImageToVideoPipeline"
    images = ("image",)

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return not transformer.get("patch_size_t") and transformer["in_channels"] > transformer["out_channels"]


class CogVideoX15Image(CogVideoX15Blocks):
    """CogVideoX 1.5 image-to-video, 5B."""

    family = "cogvideox1_5_i2v"
    pipeline_class = "CogVideoXImageToVideoPipeline"
    images = ("image",)

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return bool(transformer.get("patch_size_t")) and transformer["in_channels"] > transformer["out_channels"]
