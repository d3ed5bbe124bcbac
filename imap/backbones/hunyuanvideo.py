"""HunyuanVideo: dual-stream joint attention over [video, text] with a mask on padded text, guidance embedded."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.backbones.features import (
    CONCEPT_WINDOW,
    BlockActivations,
    ConceptStep,
    Features,
    Grid,
    TokenizedText,
    pick_token,
    split_heads,
)
from imap.backbones.tokens import tokenize
from imap.methods.concept_stream import concept_head_outputs

TEMPLATE_BEFORE = DEFAULT_PROMPT_TEMPLATE["template"].split("{}")[0]
TEMPLATE_TOKENS = DEFAULT_PROMPT_TEMPLATE["crop_start"]  # the pipeline drops that many
LONGEST = 4096  # tokens: long enough to count any concept without cutting it
# since diffusers 0.36 this processor uses the attention dispatcher, with heads after tokens
TOKENS_BEFORE_HEADS = hasattr(HunyuanVideoAttnProcessor2_0, "_attention_backend")


class HunyuanVideo(Backbone):
    """HunyuanVideo text-to-video. Layers are the dual-stream blocks."""

    family = "hunyuanvideo"
    transformer_class = "HunyuanVideoTransformer3DModel"
    pipeline_class = "HunyuanVideoPipeline"
    processor_class = "HunyuanVideoAttnProcessor2_0"
    joint_attention = True
    takes_negative_prompt = False
    masks_padding = True
    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
        "pooled_prompt_embeds": "pooled_projections",
    }
    layer_threshold = 0.75  # the paper's
    # the text encoder is causal, so its first token encodes only the first piece of a word
    default_concept_token = "last"

    @property
    def blocks(self) -> Sequence[Any]:
        return self.transformer.transformer_blocks

    def attention(self, block: Any) -> Any:
        return block.attn

    def hooked_modules(self, block: Any) -> dict[str, nn.Module]:
        attn = block.attn
        return {"q": attn.norm_q, "k": attn.norm_k, "v": attn.to_v, "text_k": attn.norm_added_k}

    def refusal(self) -> str | None:
        kind = self.transformer.config.image_condition_type
        return f"it is conditioned on an image ({kind}); load a text-to-video checkpoint" if kind else None

    def grid(self, latents: Tensor) -> Grid:
        config = self.transformer.config
        patches = (config.patch_size_t, config.patch_size, config.patch_size)
        return Grid(*(size // patch for size, patch in zip(latents.shape[2:], patches, strict=True)))

    @classmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        return 256

    def features(self, block: Any, activations: BlockActivations, row: int, slots: int, is_read: bool) -> Features:
        # the processor rotates into new tensors (CogVideoX: in place): rotate again, with the function of diffusers
        def rotated(name: str) -> Tensor:
            x = _heads_first(activations.outputs[name][row]).unsqueeze(0)
            return apply_rotary_emb(x, activations.arguments["freqs_cis"])[0]

        k, q = rotated("k"), rotated("q") if is_read else None
        video = k.shape[1]
        o = split_heads(activations.head_outputs[row, :video], self.num_heads)
        v = split_heads(activations.outputs["v"][row], self.num_heads)
        text_k = _heads_first(activations.outputs["text_k"][row])
        return Features(q, o, text_k[:, :slots], k, v)

    def start_concepts(self, embeddings: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # in the refiner every padded slot sees only the first concept, so one slot represents all
        tokens = embeddings.to(call["encoder_hidden_states"].dtype).unsqueeze(0)
        mask = call["encoder_attention_mask"].new_ones(1, len(embeddings))
        mask[:, -1] = 0
        return self.transformer.context_embedder(tokens, call["timestep"][row].unsqueeze(0), mask)

    def concept_step(
        self, block: Any, activations: BlockActivations, row: int, tokens: Tensor, weights: Tensor, features: Features
    ) -> ConceptStep:
        attn, temb = block.attn, activations.arguments["temb"][row].unsqueeze(0)
        normed, gate, ff_shift, ff_scale, ff_gate = block.norm1_context(tokens, emb=temb)
        projections = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
        q, k, v = (split_heads(project(normed)[0], self.num_heads) for project in projections)
        q, k = attn.norm_added_q(q), attn.norm_added_k(k)
        c = concept_head_outputs(q, k, v, weights, features.visual_keys, features.visual_values)
        attended = attn.to_add_out(c.transpose(0, 1).flatten(1).to(tokens.dtype).unsqueeze(0))
        tokens = tokens + gate.unsqueeze(1) * attended
        normed = block.norm2_context(tokens) * (1 + ff_scale.unsqueeze(1)) + ff_shift.unsqueeze(1)
        return ConceptStep(k, c, tokens + ff_gate.unsqueeze(1) * block.ff_context(normed))

    def tokenize(self, prompt: str) -> TokenizedText:
        return in_template(self.pipe.tokenizer, prompt, self.text_length)

    @classmethod
    def token_ids(cls, tokenizer: Any, text: str) -> tuple[int, ...]:
        return in_template(tokenizer, text, LONGEST).ids

    def encoder_tokens(self, output: Any) -> Tensor:
        return output.hidden_states[-3]  # the stock pipeline skips two layers

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        tokens, _, _ = self.pipe.encode_prompt(
            list(texts), pooled_prompt_embeds=torch.empty(0), max_sequence_length=CONCEPT_WINDOW
        )
        spans = [in_template(self.pipe.tokenizer, text, CONCEPT_WINDOW).spans for text in texts]
        picked = []
        for x, own, text in zip(tokens, spans, texts, strict=True):
            inside = [i for i, (a, b) in enumerate(own) if a < len(text) and b > max(a, 0)]
            picked.append(pick_token(x, min(inside, default=0), max(inside, default=0) + 1, concept_token))
        return torch.stack(picked)

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        # guidance is distilled into the model: the stock pipeline has no negative half to encode
        names = ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask")
        return dict(zip(names, self.pipe.encode_prompt(prompt, max_sequence_length=self.text_length), strict=True))

    def set_schedule(self, num_inference_steps: int) -> None:
        sigmas = np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        self.pipe.scheduler.set_timesteps(sigmas=sigmas, device=self.pipe._execution_device)

    def latents_of(self, sample: Tensor) -> Tensor:
        return sample.float() * self.pipe.vae.config.scaling_factor

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        return {"guidance_scale": guidance_scale}


def in_template(tokenizer: Any, text: str, length: int) -> TokenizedText:
    """The first `length` tokens that the pipeline keeps of a text in its prompt template, with spans in the text."""
    whole = tokenize(tokenizer, DEFAULT_PROMPT_TEMPLATE["template"].format(text), TEMPLATE_TOKENS + length)
    kept = slice(TEMPLATE_TOKENS, None)
    spans = ((a - len(TEMPLATE_BEFORE), b - len(TEMPLATE_BEFORE)) for a, b in whole.spans[kept])
    return TokenizedText(text, whole.ids[kept], whole.pieces[kept], tuple(spans))


def _heads_first(x: Tensor) -> Tensor:
    """(heads, tokens, width) from the normed queries or keys of one row, in the layout of the installed diffusers."""
    return x.transpose(0, 1) if TOKENS_BEFORE_HEADS else x
