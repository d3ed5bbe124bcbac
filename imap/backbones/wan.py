"""Wan2.1: video self-attention, then cross-attention to text, from which maps come (docs/method.md, 1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor, nn

from imap.backbones.features import BlockActivations, ConceptStep, Features, Grid, split_heads
from imap.backbones.t5 import T5Backbone


class Wan(T5Backbone):
    """Wan2.1 text-to-video, 1.3B and 14B."""

    family = "wan"
    transformer_class = "WanTransformer3DModel"
    pipeline_class = "WanPipeline"
    processor_class = "WanAttnProcessor"
    processor_reads_fused_flag = True

    @property
    def blocks(self) -> Sequence[Any]:
        return self.transformer.blocks

    def attention(self, block: Any) -> Any:
        return block.attn2

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        return {"q": block.attn2.norm_q, "k": block.attn2.norm_k}

    def refusal(self) -> str | None:
        if getattr(self.pipe, "transformer_2", None) is not None:
            return "this Wan2.2 pipeline switches between two transformers; load a Wan2.1 text-to-video checkpoint"
        config = self.transformer.config
        if config.added_kv_proj_dim is not None or config.image_dim is not None:  # image tokens come before the text
            return "its cross-attention mixes image keys into the text's; load a text-to-video checkpoint"
        return None

    @property
    def cross_attention_scale(self) -> float | None:
        return self.transformer.config.attention_head_dim**-0.5

    def grid(self, latents: Tensor) -> Grid:
        sizes = zip(latents.shape[2:], self.transformer.config.patch_size, strict=True)
        return Grid(*(size // patch for size, patch in sizes))

    @classmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        return 512

    def prompt_slots(self, call: Mapping[str, Any], prompt_tokens: int) -> tuple[int, int]:
        # the pipeline puts zeros in after the text encoder, so all padded slots are equal in every layer
        length = call["encoder_hidden_states"].shape[1]
        real = min(prompt_tokens, length)
        return (real + 1, length - real) if real < length else (length, 1)

    def features(self, block: Any, activations: BlockActivations, row: int, slots: int, is_read: bool) -> Features:
        q, k, o = (x[row] for x in (activations.outputs["q"], activations.outputs["k"], activations.head_outputs))
        return Features(*(split_heads(x, self.num_heads) for x in (q, o, k[:slots])))

    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        embedder = self.transformer.condition_embedder.text_embedder
        return embedder(embeddings.to(call["encoder_hidden_states"].dtype)).unsqueeze(0)

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        # text is the same in every block here: only its keys are the block's own
        keys = block.attn2.norm_k(block.attn2.to_k(tokens))
        return ConceptStep(split_heads(keys[0], self.num_heads), None, tokens)

    @staticmethod
    def clean(text: str) -> str:
        return prompt_clean(text)

    def latents_of(self, sample: Tensor) -> Tensor:
        latents = sample.float()
        config = self.pipe.vae.config
        mean, std = (latents.new_tensor(x).view(1, -1, 1, 1, 1) for x in (config.latents_mean, config.latents_std))
        return (latents - mean) / std
