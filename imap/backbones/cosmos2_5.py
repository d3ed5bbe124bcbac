"""Cosmos 2.5: self-attention over video, then cross-attention to text, with heads before tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from imap.backbones.attention import CrossAttention
from imap.backbones.base import Backbone
from imap.backbones.conversation import JoinedStatesWords
from imap.backbones.features import Grid


class Cosmos25(CrossAttention, JoinedStatesWords, Backbone):
    """Cosmos 2.5 predict: from text; in Python also from a picture or a clip, whose frames keep their place."""

    family = "cosmos2_5"
    transformer_class = "CosmosTransformer3DModel"
    pipeline_class = "Cosmos2_5_PredictBasePipeline"
    processor_class = "CosmosAttnProcessor2_0"
    takes_attention_backend = False
    heads_before_tokens = True
    text_window = 512
    entries: ClassVar[Mapping[str, int]] = {"padding_mask": 0}

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return bool(transformer.get("use_crossattn_projection"))

    def refusal(self) -> str | None:
        if reason := self.class_refusal():
            return reason
        if self.transformer.config.get("img_context_dim_in"):
            return "its cross-attention reads tokens of pictures too; load a checkpoint without them"
        if self.pipe.tokenizer is not None and self.pipe.tokenizer.padding_side != "right":
            return "its tokenizer pads on the left, and padding is encoded; set pipe.tokenizer.padding_side = 'right'"
        return None

    def fixed_frames(self, call: Mapping[str, Any], row: int, grid: Grid) -> Sequence[int]:
        return call["condition_mask"][row, 0].amax(dim=(1, 2)).nonzero().flatten().tolist()

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.crossattn_proj(tokens)
