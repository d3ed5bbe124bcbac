"""Latents of the LTX families, which their pipelines pack to tokens."""

from torch import Tensor

from imap.backbones.features import Grid
from imap.backbones.latents import Latents


class PackedLatents(Latents):
    """Latents (1, tokens, channels) in the pipeline, one token for each latent cell."""

    spatial_factor, temporal_factor = 32, 8

    def to_pipeline(self, latents: Tensor) -> Tensor:
        return self.pipe._pack_latents(latents, *self._patches)

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        return self.pipe._unpack_latents(latents, grid.frames, grid.height, grid.width, *self._patches)

    @property
    def _patches(self) -> tuple[int, int]:
        return self.transformer.config.patch_size, self.transformer.config.patch_size_t
