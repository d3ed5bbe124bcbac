"""Latents of the LTX families, which their pipelines pack to tokens, and the grid of these."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imap.backbones.attention import CrossAttention
from imap.backbones.features import Grid
from imap.backbones.latents import Latents


class PackedAttention(CrossAttention):
    """Cross-attention of a transformer that gets packed tokens, and the sizes of their grid beside them."""

    def grid(self, call: Mapping[str, Any]) -> Grid:
        return Grid(call["num_frames"], call["height"], call["width"])


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
