"""HunyuanVideo-1.5: joint attention over [video, picture, quoted words, prompt, padding], guidance by a guider."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from imap.backbones.base import Backbone
from imap.backbones.chat import SystemWords
from imap.backbones.features import Slots
from imap.backbones.guider import GuiderCalls
from imap.backbones.hunyuanvideo import HunyuanAttention
from imap.errors import ImapError


class HunyuanVideo15Blocks(HunyuanAttention, SystemWords, GuiderCalls, Backbone):
    """What text-to-video and image-to-video have in common. All blocks are dual-stream blocks."""

    transformer_class = "HunyuanVideo15Transformer3DModel"
    processor_class = "HunyuanVideo15AttnProcessor2_0"
    spatial_factor = 16
    text_window = 1000
    reads_quotes_apart = True
    padding = "unread"
    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_embeds_mask": "encoder_attention_mask",
        "prompt_embeds_2": "encoder_hidden_states_2",
        "prompt_embeds_mask_2": "encoder_attention_mask_2",
    }

    def refusal(self) -> str | None:
        return self.chat_refusal() or self.guider_refusal()

    @property
    def latent_dtype(self) -> torch.dtype:
        return self.transformer.dtype

    def prompt_slots(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> Slots:
        # the model puts what is not padding first: a picture's tokens, words in quotes (by ByT5), the prompt
        picture = call["image_embeds"].shape[1] if call["image_embeds"].any() else 0
        # counted as booleans: the pipeline gives masks in its dtype, where a sum over 256 may be rounded
        quoted, own = (
            int(call[name][row].bool().sum()) for name in ("encoder_attention_mask_2", "encoder_attention_mask")
        )
        return Slots(picture + quoted, own)

    def offset(self, call: Mapping[str, Any], row: int, prompt_tokens: int) -> int:
        return 0  # the model reorders its text after that

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # every padded slot is zero in the first block, so one slot represents all
        mask = call["encoder_attention_mask"].new_ones(tokens.shape[:2])
        mask[:, -1] = 0
        model = self.transformer
        embedded = model.context_embedder(tokens, call["timestep"][row].unsqueeze(0), mask)[:, :-1]
        kind = model.cond_type_embed(torch.zeros_like(embedded[..., 0], dtype=torch.long))
        return torch.nn.functional.pad(embedded + kind, (0, 0, 0, 1))


class HunyuanVideo15(HunyuanVideo15Blocks):
    """HunyuanVideo-1.5 text-to-video, 8.3B."""

    family = "hunyuanvideo1_5"
    pipeline_class = "HunyuanVideo15Pipeline"


class HunyuanVideo15Image(HunyuanVideo15Blocks):
    """HunyuanVideo-1.5 image-to-video, 8.3B. The pipeline takes the video's size from the picture."""

    family = "hunyuanvideo1_5_i2v"
    pipeline_class = "HunyuanVideo15ImageToVideoPipeline"
    images = ("image",)

    def size_arguments(self, num_frames: int, height: int, width: int) -> dict[str, int]:
        own = self.pipe.video_processor.calculate_default_height_width(height, width, self.pipe.target_size)
        if own != (height, width):
            raise ImapError(
                f"a {self.pipeline_class} makes a video of {own[0]}x{own[1]} (height x width) from a picture of "
                f"{height}x{width}; set height={own[0]} and width={own[1]}"
            )
        return {"num_frames": num_frames}
