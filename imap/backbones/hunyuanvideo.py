"""HunyuanVideo: dual-stream joint attention over [video, text] with a mask on padded text, guidance embedded."""

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from torch import Tensor

from imap.backbones.attention import JointAttention
from imap.backbones.base import Backbone
from imap.backbones.chat import TemplateWords


class HunyuanAttention(JointAttention):
    """Dual-stream blocks. The processor rotates into new tensors."""

    video_norm, after_attention = "norm1", ("norm2", "ff")

    def rotate(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        return apply_rotary_emb(x.unsqueeze(0), arguments["freqs_cis"])[0]  # again, with the function of diffusers


class HunyuanVideoBlocks(HunyuanAttention, TemplateWords, Backbone):
    """What all models built like HunyuanVideo have in common. Layers are the dual-stream blocks."""

    transformer_class = "HunyuanVideoTransformer3DModel"
    processor_class = "HunyuanVideoAttnProcessor2_0"
    # since diffusers 0.36 this processor uses the attention dispatcher, with heads after tokens
    heads_before_tokens = not hasattr(HunyuanVideoAttnProcessor2_0, "_attention_backend")
    text_window = 256
    masks_padding = True
    layer_threshold = 0.75  # the paper's, for HunyuanVideo
    text_arguments: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "pooled_prompt_embeds": "pooled_projections",
        "prompt_attention_mask": "encoder_attention_mask",
    }

    def embed_text(self, tokens: Tensor, call: Mapping[str, Any], row: int) -> Tensor:
        # in the refiner every padded slot sees only the first concept, so one slot represents all
        mask = call["encoder_attention_mask"].new_ones(tokens.shape[:2])
        mask[:, -1] = 0
        return self.transformer.context_embedder(tokens, call["timestep"][row].unsqueeze(0), mask)

    def guidance_arguments(self, guidance_scale: float, conditional_only: bool) -> dict[str, Any]:
        if not self.takes_negative_prompt:  # guidance is distilled into the model
            return super().guidance_arguments(guidance_scale, conditional_only)
        return {"true_cfg_scale": 1.0 if conditional_only else guidance_scale}


class HunyuanVideo(HunyuanVideoBlocks):
    """HunyuanVideo text-to-video."""

    family = "hunyuanvideo"
    pipeline_class = "HunyuanVideoPipeline"
    takes_negative_prompt = False

    def refusal(self) -> str | None:
        kind = self.transformer.config.image_condition_type
        return f"it is conditioned on an image ({kind}); load a text-to-video checkpoint" if kind else None

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        # one that is conditioned on an image is refused with the reason
        return transformer["in_channels"] == transformer["out_channels"] or bool(
            transformer.get("image_condition_type")
        )


class HunyuanSkyreelsImage(HunyuanVideoBlocks):
    """SkyReels-V1 image-to-video: the picture's latents are in the channels of the video. Guidance is a second call."""

    family = "hunyuan_skyreels_i2v"
    pipeline_class = "HunyuanSkyreelsImageToVideoPipeline"
    images = ("image",)

    @classmethod
    def fits(cls, transformer: Mapping[str, Any], pipeline: Mapping[str, Any]) -> bool:
        return transformer["in_channels"] == 2 * transformer["out_channels"] and not transformer.get(
            "image_condition_type"
        )
