"""Sana-Video: linear self-attention, then cross-attention to text under a mask, guidance as one batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imap.backbones.attention import CrossAttention
from imap.backbones.base import Backbone
from imap.backbones.instruction import InstructionWords
from imap.errors import ImapError

MULTIPLE = 32  # pixels, that the pipeline asks for


class SanaVideo(CrossAttention, InstructionWords, Backbone):
    """Sana-Video text-to-video, 2B."""

    family = "sana_video"
    transformer_class = "SanaVideoTransformer3DModel"
    pipeline_class = "SanaVideoPipeline"
    processor_class = "SanaAttnProcessor2_0"
    has_attention_matrix = False
    batched_guidance = True
    text_window = 300
    frames_argument = "frames"

    def __init__(self, pipe: Any, component: str = "transformer") -> None:
        super().__init__(pipe, component)
        if self.transformer.config.qk_norm is None:
            self.queries, self.keys = "to_q", "to_k"

    def refusal(self) -> str | None:
        return self.class_refusal()

    @classmethod
    def layers_and_heads(cls, transformer: Mapping[str, Any]) -> tuple[int, int]:
        return transformer["num_layers"], transformer["num_cross_attention_heads"]

    @property
    def cross_attention_scale(self) -> float | None:
        return self.transformer.config.cross_attention_head_dim**-0.5

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.caption_norm(self.transformer.caption_projection(tokens))

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        # its default is a text, which the pipeline takes for a second negative prompt beside the encoded one
        return super().guidance_arguments(guidance_scale, conditional_only) | {"negative_prompt": None}

    def size_arguments(self, num_frames: int, height: int, width: int) -> dict[str, int]:
        near = [max(1, round(pixels / MULTIPLE)) * MULTIPLE for pixels in (height, width)]
        if near != [height, width]:
            raise ImapError(
                f"a {self.pipeline_class} makes videos of multiples of {MULTIPLE} pixels, got {height}x{width} "
                f"(height x width); set height={near[0]} and width={near[1]}"
            )
        # else it would make a video of another size, and enlarge that
        return {"frames": num_frames, "height": height, "width": width, "use_resolution_binning": False}
