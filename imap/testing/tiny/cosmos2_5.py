"""A tiny Cosmos 2.5 predict: 4 blocks of 6 heads, text only through cross attention."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    Cosmos2_5_PredictBasePipeline,
    CosmosTransformer3DModel,
    UniPCMultistepScheduler,
)

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH
from imap.testing.tiny.qwen import language_model
from imap.testing.tiny.seeding import seeded

LAYERS = 2  # of the language model


class Unchecked:
    """Replaces NVIDIA's guardrail, which is a separate package. For random weights only."""

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: Any) -> Any:
        return frames

    def to(self, device: Any) -> "Unchecked":
        return self


def build(seed: int = 0) -> Cosmos2_5_PredictBasePipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.qwen()
    checker: Any = Unchecked()
    scheduler: Any = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    with seeded(seed):
        return Cosmos2_5_PredictBasePipeline(
            tokenizer=tokenizer,
            text_encoder=language_model(len(tokenizer), LAYERS).eval(),
            vae=AutoencoderKLWan(
                base_dim=4,
                z_dim=16,
                dim_mult=[1, 1, 1, 1],
                num_res_blocks=1,
                temperal_downsample=[False, True, True],
            ).eval(),
            transformer=_transformer().eval(),
            scheduler=scheduler,
            safety_checker=checker,
        )


def _transformer() -> CosmosTransformer3DModel:
    transformer = CosmosTransformer3DModel(
        in_channels=17,
        out_channels=16,
        num_layers=4,
        num_attention_heads=6,
        attention_head_dim=24,
        text_embed_dim=24,
        use_crossattn_projection=True,
        crossattn_proj_in_channels=LAYERS * TEXT_WIDTH,
        encoder_hidden_states_channels=24,
        adaln_lora_dim=4,
        max_size=(8, 16, 16),
        concat_padding_mask=False,  # it needs torchvision
        extra_pos_embed_type=None,
    )
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if ".attn2.norm_" in name:  # not ones, which no norm would need
                weight.uniform_(0.5, 1.5)
    return transformer
