"""Wan image-to-video: the picture is in the channels of the video, and in Wan2.1 in cross-attention too."""

from collections.abc import Mapping
from typing import Any, ClassVar

from imap.backbones.attention import TextAndImageAttention
from imap.backbones.wan import WanBlocks


class WanFromPicture(WanBlocks):
    """Wan whose transformer gets a picture beside the noise."""

    pipeline_class = "WanImageToVideoPipeline"
    images = ("image",)

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        from_picture = transformer["in_channels"] > transformer["out_channels"]
        return from_picture and super().fits(transformer, pipeline)


class WanImage(TextAndImageAttention, WanFromPicture):
    """Wan2.1 image-to-video, 14B."""

    family = "wan_i2v"

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return transformer.get("pos_embed_seq_len") is None and super().fits(transformer, pipeline)


class WanFirstAndLast(TextAndImageAttention, WanFromPicture):
    """Wan2.1 from a first and a last frame, 14B: an embedding says which picture's token is where."""

    family = "wan_flf2v"
    images = ("image", "last_image")
    entries: ClassVar[Mapping[str, int]] = {"encoder_hidden_states_image": 2}

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return transformer.get("pos_embed_seq_len") is not None and super().fits(transformer, pipeline)


class Wan22Image(WanFromPicture):
    """Wan2.2 image-to-video, A14B: two transformers, whose cross-attention reads text alone."""

    family = "wan2_2_i2v"
    transformers = ("transformer", "transformer_2")
    optional_images = ("last_image",)
