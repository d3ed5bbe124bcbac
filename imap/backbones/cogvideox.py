"""CogVideoX: joint attention over [text, video], one text stream without a mask, guidance as one batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.features import BlockActivations, ConceptStep, Features, Grid, split_heads
from imap.backbones.t5 import T5Backbone
from imap.methods.concept_stream import concept_head_outputs


class CogVideoX(T5Backbone):
    """CogVideoX 1.0 and 1.5 text-to-video, 2B and 5B."""

    family = "cogvideox"
    transformer_class = "CogVideoXTransformer3DModel"
    pipeline_class = "CogVideoXPipeline"
    processor_class = "CogVideoXAttnProcessor2_0"
    joint_attention = True
    batched_guidance = True
    channel_axis = 2
    rivals_are_words = False
    takes_attention_backend = False

    @property
    def blocks(self) -> Sequence[Any]:
        return self.transformer.transformer_blocks

    def attention(self, block: Any) -> Any:
        return block.attn1

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        # the processor rotates the visual part of q and k in place after these norms, so at the output projection the
        # same tensors hold what the attention saw
        return {"q": block.attn1.norm_q, "k": block.attn1.norm_k, "v": block.attn1.to_v}

    def grid(self, latents: Tensor) -> Grid:
        config = self.transformer.config
        frames, height, width = latents.shape[1], latents.shape[3], latents.shape[4]
        return Grid(frames // (config.patch_size_t or 1), height // config.patch_size, width // config.patch_size)

    @classmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        return transformer["max_text_seq_length"]

    def features(self, block: Any, activations: BlockActivations, row: int, slots: int, is_read: bool) -> Features:
        q, k = activations.outputs["q"][row], activations.outputs["k"][row]
        v, o = (split_heads(x[row], self.num_heads) for x in (activations.outputs["v"], activations.head_outputs))
        text = activations.arguments["encoder_hidden_states"].shape[1]
        return Features(q[:, text:], o[:, text:], k[:, :slots], k[:, text:], v[:, text:])

    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # text positions carry no position embedding, in the sin-cos models neither
        return self.transformer.patch_embed.text_proj(embeddings.to(call["encoder_hidden_states"].dtype)).unsqueeze(0)

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        attn, temb = block.attn1, activations.arguments["temb"][row].unsqueeze(0)
        _, normed, _, gate = block.norm1(tokens, tokens, temb)
        q, k, v = (split_heads(project(normed)[0], self.num_heads) for project in (attn.to_q, attn.to_k, attn.to_v))
        q, k = attn.norm_q(q), attn.norm_k(k)
        c = concept_head_outputs(q, k, v, weights, features.visual_keys, features.visual_values)
        attended = attn.to_out[0](c.transpose(0, 1).flatten(1).to(tokens.dtype).unsqueeze(0))
        tokens = tokens + gate * attended
        _, normed, _, gate = block.norm2(tokens, tokens, temb)
        return ConceptStep(k, c, tokens + gate * block.ff(normed))

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, ...]:
        batch, channels, latent_frames, *size = super().latent_shape(frames, height, width)
        return (batch, latent_frames, channels, *size)

    @property
    def latent_dtype(self) -> torch.dtype:
        return self.pipe.text_encoder.dtype

    def latents_of(self, sample: Tensor) -> Tensor:
        return (sample * self.pipe.vae_scaling_factor_image).transpose(1, 2)
