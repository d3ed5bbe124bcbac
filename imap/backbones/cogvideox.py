"""CogVideoX: joint attention over [text, video], one text stream without a mask, guidance as one batch."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from imap.backbones.attention import JointAttention
from imap.backbones.base import Backbone
from imap.backbones.features import Grid
from imap.backbones.t5 import T5Words


class CogVideoXBlocks(JointAttention, T5Words, Backbone):
    """What all CogVideoX models have in common."""

    transformer_class = "CogVideoXTransformer3DModel"
    processor_class = "CogVideoXAttnProcessor2_0"
    takes_attention_backend = False
    attention_name = "attn1"
    text_has_projections = False
    heads_before_tokens = True
    batched_guidance = True
    rivals_are_words = False
    channel_axis = 2
    noise_as_text = True
    joins_frames: ClassVar[bool] = False  # a token is of several latent frames
    from_picture: ClassVar[bool] = False  # a picture's latents are in further channels

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        from_picture = transformer["in_channels"] > transformer["out_channels"]
        return (bool(transformer.get("patch_size_t")), from_picture) == (cls.joins_frames, cls.from_picture)

    @classmethod
    def text_slots(cls, transformer: Mapping[str, Any]) -> int:
        return transformer["max_text_seq_length"]

    def grid(self, call: Mapping[str, Any]) -> Grid:
        return super().grid({"hidden_states": call["hidden_states"].transpose(1, 2)})

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # text positions carry no position embedding, in the sin-cos models neither
        return self.transformer.patch_embed.text_proj(tokens)


class CogVideoX(CogVideoXBlocks):
    """CogVideoX text-to-video and video-to-video, 2B and 5B."""

    family = "cogvideox"
    pipeline_class = "CogVideoXPipeline"
