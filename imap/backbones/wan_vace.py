"""Wan VACE: Wan with control blocks that run before its blocks, and are not read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from imap.backbones.features import Grid
from imap.backbones.wan import Wan
from imap.backbones.wan2_2 import Wan22


class WanVACE(Wan):
    """Wan2.1 VACE, 1.3B and 14B. Without a control video it makes videos from text.

    Reference pictures are latent frames before the video, which the pipeline cuts off at the end. They have no maps.
    """

    family = "wan_vace"
    transformer_class = "WanVACETransformer3DModel"
    pipeline_class = "WanVACEPipeline"
    first_diffusers = "0.36"  # earlier ones take no encoded prompt

    def grid(self, call: Mapping[str, Any]) -> Grid:
        # a reference has zeros as its reactive latents, which nothing encoded is. Copied to the host once
        channels, whole = self.channels, super().grid(call)
        used = call["control_hidden_states"][-1, channels : 2 * channels].flatten(2).any(dim=2).any(dim=0).tolist()
        return replace(whole, frames=whole.frames - (used.index(True) if True in used else 0))

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        return super().from_pipeline(latents, grid)[:, :, -grid.frames :]


class Wan22VACE(WanVACE):
    """Wan2.2 VACE, A14B: two transformers."""

    family = "wan2_2_vace"
    transformers = Wan22.transformers
