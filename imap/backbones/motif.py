"""Motif-Video: dual-stream joint attention over [video, picture, text], guidance by a guider."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from imap.backbones.attention import JointAttention
from imap.backbones.base import Backbone
from imap.backbones.features import CONCEPT_WINDOW, Slots, pick_of_text
from imap.backbones.guider import GuiderCalls
from imap.backbones.t5 import MaskedT5Words
from imap.backbones.tokens import tokenize


class MotifWords(MaskedT5Words):
    """Words of T5Gemma 2. Its tokenizer puts a start token first, and may pad on either side."""

    text_window = 512

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        picture = call.get("image_embeds")
        before = 0 if picture is None else picture.shape[1]  # the model puts a picture's tokens before the text
        mask = call["encoder_attention_mask"][row].bool()
        return Slots(before + self.offset(call, row, prompt_tokens), int(mask.sum()))

    def offset(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> int:
        return int(call["encoder_attention_mask"][row].int().argmax())  # after padding on the left

    def encode_concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        tokens, _, masks, _ = self.pipe.encode_prompt(list(texts), max_sequence_length=CONCEPT_WINDOW)
        found = [tokenize(self.pipe.tokenizer, text, CONCEPT_WINDOW) for text in texts]
        read = zip(tokens, masks, found, strict=True)
        return torch.stack([pick_of_text(x[mask], text, concept_token) for x, mask, text in read])

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Tensor]:
        encoded = self.pipe.encode_prompt(prompt, negative_prompt, max_sequence_length=self.text_length)
        names = [f"{half}{name}" for name in self.text_arguments for half in ("", "negative_")]
        return {name: x for name, x in zip(names, encoded, strict=True) if x is not None}


class MotifBlocks(JointAttention, MotifWords, GuiderCalls, Backbone):
    """What text-to-video and image-to-video have in common. Layers are the dual-stream blocks.

    Blocks may have cross-attention from the video to the text beside the joint attention. It adds to the video alone.
    So maps do not read it, and concept tokens need not pass it.
    """

    transformer_class = "MotifVideoTransformer3DModel"
    processor_class = "MotifVideoAttnProcessor2_0"
    video_norm, after_attention = "norm1", ("cross_attn", "norm2", "ff")

    def refusal(self) -> str | None:
        norm = self.transformer.config.qk_norm
        if norm not in ("rms_norm", "layer_norm"):
            return f"its attention has no norms to read queries and keys from (qk_norm={norm}); load one with rms_norm"
        return self.guider_refusal()

    @property
    def latent_dtype(self) -> torch.dtype:
        return self.transformer.dtype

    def rotate(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        return apply_rotary_emb(x.unsqueeze(0), arguments["image_rotary_emb"])[0]  # the processor makes new tensors

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.context_embedder(tokens)


class Motif(MotifBlocks):
    """Motif-Video text-to-video, 2B."""

    family = "motif"
    pipeline_class = "MotifVideoPipeline"


class MotifImage(MotifBlocks):
    """Motif-Video image-to-video, 2B. The picture is in the channels of the video, and its tokens are in the text."""

    family = "motif_i2v"
    pipeline_class = "MotifVideoImage2VideoPipeline"
    also_loads = ("MotifVideoPipeline",)
    images = ("image",)

    def encode_prompt(self, prompt: str | list[str], negative_prompt: str | list[str] | None) -> dict[str, Any]:
        return super().encode_prompt(prompt, negative_prompt) | {"prompt": None}  # its call has no default for it
