"""HunyuanVideo image-to-video, with the picture as the first latent frame or in the channels of the video."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.after_picture import WordsAfterPicture
from imap.backbones.features import Grid
from imap.backbones.hunyuanvideo import HunyuanVideoBlocks


class HunyuanVideoPictureBlocks(WordsAfterPicture, HunyuanVideoBlocks):
    """What both kinds have in common."""

    pipeline_class = "HunyuanVideoImageToVideoPipeline"
    images = ("image",)
    condition: ClassVar[str]  # `image_condition_type` of the transformer

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return transformer.get("image_condition_type") == cls.condition


class HunyuanVideoImage(HunyuanVideoPictureBlocks):
    """HunyuanVideo-I2V. The picture is the first latent frame, with another modulation than the video."""

    family = "hunyuanvideo_i2v"
    condition, picture_step = "token_replace", 4
    clean_frames = 1
    takes_negative_prompt = False

    @torch.no_grad()
    def start(self, noised: Tensor, pictures: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        # the pipeline mixes a thousandth of its picture into every frame of the latents that it is given
        height, width = (x * self.spatial_factor for x in noised.shape[-2:])
        pixels = self.pipe.video_processor.preprocess(pictures["image"], height, width)
        picture = self.latents_of(self.posterior(pixels.unsqueeze(2)).mode()).to(noised)
        share = torch.tensor([0.999], device=noised.device)
        return (noised - picture * (1 - share)) / share


class HunyuanVideoImageConcat(HunyuanVideoPictureBlocks):
    """HunyuanVideo-I2V of 33 channels: the picture's latents are in those of the video. Guidance is a second call.

    The pipeline leaves the first latent frame out of the video. So that frame is context, and has no map.
    """

    family = "hunyuanvideo_i2v_33ch"
    condition, picture_step = "latent_concat", 2
    renoising_refusal = "it leaves the first four frames out of the video; use imap.trace"

    def grid(self, call: Mapping[str, Any]) -> Grid:
        whole = super().grid(call)
        return replace(whole, frames=whole.frames - 1)

    def grid_of(self, frames: int, height: int, width: int) -> Grid:
        whole = super().grid_of(frames, height, width)
        return replace(whole, frames=whole.frames - 1)

    def video_size(self, grid: Grid) -> tuple[int, int, int]:
        return super().video_size(replace(grid, frames=grid.frames + 1))

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        return latents[:, :, -grid.frames * self.latent_frames_per_patch :]
