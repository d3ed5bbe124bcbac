"""Mochi: joint attention over [video, valid text], a text stream of another width, guidance as one batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from imap.backbones.attention import JointAttention
from imap.backbones.base import Backbone
from imap.backbones.t5 import MaskedT5Words


class Mochi(JointAttention, MaskedT5Words, Backbone):
    """Mochi 1 text-to-video."""

    family = "mochi"
    transformer_class = "MochiTransformer3DModel"
    pipeline_class = "MochiPipeline"
    processor_class = "MochiAttnProcessor2_0"
    takes_attention_backend = False
    attention_name = "attn1"
    video_norm, after_attention = "norm1", ("norm2", "norm3", "ff", "norm4")
    batched_guidance = True
    text_window = 256
    temporal_factor = 6
    noise_as_text = True

    def rotate(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        # as the processor does in a function of its own, which nothing else can call; frequencies (n, h, d / 2)
        cos, sin = (frequencies.transpose(0, 1) for frequencies in arguments["image_rotary_emb"])
        even, odd = x[..., 0::2].float(), x[..., 1::2].float()
        rotated = ((even * cos - odd * sin).to(x.dtype), (even * sin + odd * cos).to(x.dtype))
        return torch.stack(rotated, dim=-1).flatten(-2)

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.time_embed.caption_proj(tokens)
