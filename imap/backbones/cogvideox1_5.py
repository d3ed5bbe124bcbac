"""CogVideoX 1.5: as CogVideoX, with two latent frames in each token, padded in front to an even number."""

import torch
from torch import Tensor

from imap.backbones.cogvideox import CogVideoXBlocks


class CogVideoX15Blocks(CogVideoXBlocks):
    """What all CogVideoX 1.5 models have in common."""

    joins_frames = True

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        batch, channels, latent_frames, *size = super().latent_shape(frames, height, width)
        return (batch, channels, latent_frames + self._padding(latent_frames), *size)

    def latents_of(self, sample: Tensor) -> Tensor:
        latents = super().latents_of(sample)
        return torch.cat([latents[:, :, : self._padding(latents.shape[2])], latents], dim=2)

    def _padding(self, latent_frames: int) -> int:
        return -latent_frames % self.latent_frames_per_patch


class CogVideoX15(CogVideoX15Blocks):
    """CogVideoX 1.5 text-to-video. Its layers are as many and as wide as those of CogVideoX-5B, but others."""

    family = "cogvideox1_5"
    pipeline_class = "CogVideoXPipeline"
