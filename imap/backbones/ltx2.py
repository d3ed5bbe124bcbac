"""LTX-2: video and sound beside each other; maps come from the video's cross-attention to text."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from imap.backbones.base import Backbone
from imap.backbones.connected import ConnectedWords
from imap.backbones.features import BlockActivations, ConceptStep, Features
from imap.backbones.packed import PackedAttention, PackedLatents


class LTX2(PackedAttention, ConnectedWords, PackedLatents, Backbone):
    """LTX-2 text-to-video with sound. Head outputs are what the output projection gets: after the gates of LTX-2.3.

    Guidance may call the transformer up to three times at a step. The first call is read, and in it the last row: the
    prompt, with sound and with every block as it is.
    """

    family = "ltx2"
    transformer_class = "LTX2VideoTransformer3DModel"
    pipeline_class = "LTX2Pipeline"
    processor_class = "LTX2AudioVideoAttnProcessor"
    batched_guidance = True
    text_window = 1024
    renoising_refusal = "its transformer takes sound at the same noise, and a clip's sound is not read; use imap.trace"

    def __init__(self, pipe: Any, component: str = "transformer") -> None:
        super().__init__(pipe, component)
        if self.transformer.config.get("perturbed_attn"):
            self.processor_class = "LTX2PerturbedAttnProcessor"

    def refusal(self) -> str | None:
        kind = type(self.pipe).__name__
        if kind != self.pipeline_class:
            return f"imap does not know the conditions of this pipeline; use {self.pipeline_class}.from_pipe(pipe)"
        connectors = self.pipe.connectors  # None where a checkpoint is looked at without its weights
        if connectors is not None and not connectors.config.video_connector_num_learnable_registers:
            return "its connectors have no registers, so its text is not in the first slots; load LTX-2 as published"
        return None

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.caption_projection(tokens) if self.transformer.config.use_prompt_embeddings else tokens

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        text = tokens
        if block.cross_attn_adaln:  # each block modulates its text
            table, temb = block.prompt_scale_shift_table, activations.arguments.get("temb_prompt")
            of_block = table[None, None].to(tokens).unbind(dim=2)
            shift, scale = of_block if temb is None else block.get_mod_params(table, temb[row : row + 1], 1)
            text = tokens * (1 + scale) + shift
        return replace(super().concept_step(block, activations, row, text, weights, features), tokens=tokens)

    @property
    def rows(self) -> int:
        return 2 if self.pipe.do_classifier_free_guidance else 1

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        if guidance_scale > 1 and not conditional_only:
            return {"guidance_scale": guidance_scale}
        off = {"guidance_scale": 1.0, "stg_scale": 0.0, "modality_scale": 1.0}  # and of sound, which follows the video
        return off | {"audio_guidance_scale": None, "audio_stg_scale": None, "audio_modality_scale": None}
