"""AnyFlow: built like Wan, with frames before channels inside the pipeline and guidance as one batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imap.backbones.features import Grid
from imap.backbones.wan import WanBlocks


class AnyFlow(WanBlocks):
    """AnyFlow text-to-video, 1.3B and 14B. Guidance is in the model's weights."""

    family = "anyflow"
    transformer_class = "AnyFlowTransformer3DModel"
    pipeline_class = "AnyFlowPipeline"
    processor_class = "AnyFlowCrossAttnProcessor"
    batched_guidance = True

    def refusal(self) -> str | None:
        return None

    def grid(self, call: Mapping[str, Any]) -> Grid:
        return super().grid({"hidden_states": call["hidden_states"].transpose(1, 2)})

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        return latents.transpose(1, 2)  # of the loop; what a call takes and returns has channels first
