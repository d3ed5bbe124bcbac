"""LTX-Video: latents packed to tokens, cross-attention to text under a mask, guidance as one batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imap.backbones.base import Backbone
from imap.backbones.packed import PackedAttention, PackedLatents
from imap.backbones.t5 import MaskedT5Words


class LTX(PackedAttention, MaskedT5Words, PackedLatents, Backbone):
    """LTX-Video 0.9 text-to-video."""

    family = "ltx"
    transformer_class = "LTXVideoTransformer3DModel"
    pipeline_class = "LTXPipeline"
    processor_class = "LTXVideoAttnProcessor"
    batched_guidance = True
    text_window = 128

    def refusal(self) -> str | None:
        if type(self.pipe).__name__ == self.pipeline_class:
            return None
        return f"it samples windows with other conditions and prompts; use {self.pipeline_class}.from_pipe(pipe)"

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.caption_projection(tokens)
