"""Wan: video self-attention, then cross-attention to text, from which maps come (docs/method.md, 1)."""

from collections.abc import Mapping
from typing import Any

from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor

from imap.backbones.attention import CrossAttention, TextAndImageAttention
from imap.backbones.base import Backbone
from imap.backbones.t5 import T5Words


class WanBlocks(CrossAttention, T5Words, Backbone):
    """What all models built like Wan have in common."""

    transformer_class = "WanTransformer3DModel"
    pipeline_class = "WanPipeline"
    processor_class = "WanAttnProcessor"
    processor_reads_fused_flag = True
    block_list = "blocks"
    padding = "equal"  # the pipeline puts zeros in after the text encoder, so padded slots are equal in every layer
    text_window = 512
    clean = staticmethod(prompt_clean)

    def refusal(self) -> str | None:
        config, of_both = self.transformer.config, isinstance(self, TextAndImageAttention)
        if of_both == (config.added_kv_proj_dim is not None) == (config.image_dim is not None):
            return None
        return "its cross-attention mixes image keys into the text's; load a checkpoint of text or image to video"

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.condition_embedder.text_embedder(tokens)


class Wan(WanBlocks):
    """Wan2.1 text-to-video and video-to-video, 1.3B and 14B."""

    family = "wan"

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        from_text = transformer["in_channels"] == transformer["out_channels"]
        return from_text and not pipeline.get("expand_timesteps") and super().fits(transformer, pipeline)
