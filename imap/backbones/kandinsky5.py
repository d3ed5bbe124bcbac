"""Kandinsky 5: self-attention over video, then cross-attention to text, which has passed text blocks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.attention import CrossAttention
from imap.backbones.base import Backbone
from imap.backbones.features import BlockActivations, ConceptStep, Features, Grid
from imap.backbones.last_turn import TurnWords


class Kandinsky5(CrossAttention, TurnWords, Backbone):
    """Kandinsky 5.0 text-to-video with full attention. Its latents have channels last."""

    family = "kandinsky5"
    transformer_class = "Kandinsky5Transformer3DModel"
    pipeline_class = "Kandinsky5T2VPipeline"
    processor_class = "Kandinsky5AttnProcessor"
    block_list = "visual_transformer_blocks"
    attention_name = "cross_attention"
    queries, keys = "query_norm", "key_norm"
    channel_axis = 4

    def refusal(self) -> str | None:
        if reason := self.class_refusal():
            return reason
        if self.transformer.config.attention_type == "nabla":
            return "its attention is sparse (attention_type=nabla): tokens have another order; load a Lite one of 5 s"
        return self.template_refusal()

    @classmethod
    def layers_and_heads(cls, transformer: Mapping[str, Any]) -> tuple[int, int]:
        return transformer["num_visual_blocks"], transformer["model_dim"] // sum(transformer["axes_dims"])

    @property
    def cross_attention_scale(self) -> float | None:
        return sum(self.transformer.config.axes_dims) ** -0.5

    @property
    def channels(self) -> int:
        return self.transformer.config.in_visual_dim

    @property
    def latent_dtype(self) -> torch.dtype:
        return self.transformer.dtype

    def guidance_branch(self, call: Mapping[str, Any]) -> Any:
        return call["text_rope_pos"]  # each call casts the timestep anew

    def output(self, block: Any) -> nn.Module:
        return self.attention(block).out_layer

    def grid(self, call: Mapping[str, Any]) -> Grid:
        return super().grid({"hidden_states": call["hidden_states"].movedim(-1, 1)})

    def from_pipeline(self, latents: Tensor, grid: Grid) -> Tensor:
        return super().from_pipeline(latents, grid)[:, : self.channels]  # without the condition

    def start(self, noised: Tensor, pictures: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        # the pipeline adds a condition of zeros and its mask to its own noise, but not to latents that it is given
        more = self.channels + 1 if self.transformer.config.visual_cond else 0
        return nn.functional.pad(noised, (0, 0, 0, 0, 0, 0, 0, more))

    def features(self, block: Any, activations: BlockActivations, row: int, slots: slice, is_read: bool) -> Features:
        found = super().features(block, activations, row, slots, is_read)
        # the norms run in float32, and attention gets what they give in the dtype of its outputs
        q, k = (None if x is None else x.to(found.o.dtype) for x in (found.q, found.prompt_keys))
        return replace(found, q=q, prompt_keys=k)

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        attention = self.attention(block)
        keys = attention.to_key(tokens).unflatten(-1, (self.num_heads, -1))
        keys = attention.key_norm(keys.float()).type_as(keys)
        return ConceptStep(self._heads(keys[0]), None, tokens)

    def _heads(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1)

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # Blocks of the text attend to the words of a sentence by their places. Concepts are no sentence, so each is a
        # text of one token: it attends to itself alone, and its place makes no difference.
        model, rows = self.transformer, slice(row, row + 1)
        time = model.time_embeddings(call["timestep"][rows])
        time = time + model.pooled_text_embeddings(call["pooled_projections"][rows])
        alone = model.text_embeddings(tokens).transpose(0, 1)
        for block in model.text_transformer_blocks:
            alone = block(alone, time, None)
        # as in the model, this follows: streams of group offloading load what came next the last time
        model.visual_rope_embeddings((1, 1, 1, 1), [places[:1] for places in call["visual_rope_pos"]])
        return alone.transpose(0, 1)
