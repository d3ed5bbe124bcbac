"""Allegro: cross-attention to text under a mask, no norm of queries and keys, guidance as one batch."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imap.backbones.attention import CrossAttention
from imap.backbones.base import Backbone
from imap.backbones.t5 import MaskedT5Words
from imap.errors import ImapError


class Allegro(CrossAttention, MaskedT5Words, Backbone):
    """Allegro text-to-video. Its VAE makes four frames of every latent frame, of the first too."""

    family = "allegro"
    transformer_class = "AllegroTransformer3DModel"
    pipeline_class = "AllegroPipeline"
    processor_class = "AllegroAttnProcessor2_0"
    takes_attention_backend = False
    queries, keys = "to_q", "to_k"
    batched_guidance = True
    text_window = 512
    causal = False
    noise_as_text = True

    @staticmethod
    def clean(text: str) -> str:
        return text.lower().strip()

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        return self.transformer.caption_projection(tokens)

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        # its default is a text, which the pipeline takes for a second negative prompt beside the encoded one
        return super().guidance_arguments(guidance_scale, conditional_only) | {"negative_prompt": None}

    def posterior(self, video: Tensor) -> Any:
        if not self.pipe.vae.use_tiling:
            raise ImapError("Allegro's VAE encodes a clip in tiles only; call pipe.vae.enable_tiling() first")
        return super().posterior(video)
