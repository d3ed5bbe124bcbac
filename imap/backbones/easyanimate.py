"""EasyAnimate: joint attention over [text, video], other projections for text than for video, guidance as one batch."""

from collections.abc import Mapping
from typing import Any

from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from imap.backbones.attention import JointAttention
from imap.backbones.base import Backbone
from imap.backbones.conversation import LastStatesWords


class EasyAnimate(JointAttention, LastStatesWords, Backbone):
    """EasyAnimate V5.1 text-to-video."""

    family = "easyanimate"
    transformer_class = "EasyAnimateTransformer3DModel"
    pipeline_class = "EasyAnimatePipeline"
    processor_class = "EasyAnimateAttnProcessor2_0"
    takes_attention_backend = False
    attention_name = "attn1"
    heads_before_tokens = True
    after_attention = ("ff",)
    batched_guidance = True
    text_window = 256
    noise_as_text = True

    def refusal(self) -> str | None:
        config = self.transformer.config
        if reason := self.class_refusal():
            return reason
        if config.mmdit_layers < config.num_layers:
            return (
                f"text shares the projections of the video in its blocks from {config.mmdit_layers} on, and no family "
                "reads these; load a checkpoint whose mmdit_layers are its num_layers"
            )
        return None

    def rotate(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        # the processor rotates what it has joined to the text's, which no hook sees
        return apply_rotary_emb(x.unsqueeze(0), arguments["image_rotary_emb"])[0]

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.text_proj(tokens)
