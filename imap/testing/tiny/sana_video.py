"""A tiny Sana-Video: 4 blocks of 6 heads, linear self-attention, text only through cross attention."""

from typing import Any

from diffusers import AutoencoderKLWan, DPMSolverMultistepScheduler, SanaVideoPipeline, SanaVideoTransformer3DModel
from torch import nn
from transformers import Gemma2Config, Gemma2Model

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0, **layout: Any) -> SanaVideoPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights.

    Args:
        seed: Seed of the weights.
        layout: Other values of the transformer's configuration.
    """
    tokenizer: Any = tokenizers.gemma()
    tokenizer.padding_side = "right"  # as the pipeline sets it
    scheduler: Any = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
    )
    with seeded(seed):
        return SanaVideoPipeline(
            tokenizer=tokenizer,
            text_encoder=_text_encoder(len(tokenizer)).eval(),
            vae=AutoencoderKLWan(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, z_dim=16).eval(),
            transformer=_transformer(**layout).eval(),
            scheduler=scheduler,
        )


def _transformer(**layout: Any) -> SanaVideoTransformer3DModel:
    size: dict[str, Any] = {
        "num_layers": 4,
        "num_attention_heads": 6,
        "attention_head_dim": 24,
        "num_cross_attention_heads": 6,
        "cross_attention_head_dim": 24,
        "cross_attention_dim": 144,
        "caption_channels": TEXT_WIDTH,
        "patch_size": (1, 4, 4),  # of 32 pixels, the smallest side that the pipeline takes
    }
    transformer = SanaVideoTransformer3DModel(**size | layout)
    for name, weight in transformer.named_parameters():
        if ".attn2.norm_" in name:  # not ones, which no norm would need
            nn.init.uniform_(weight, 0.5, 1.5)
    return transformer


def _text_encoder(tokens: int) -> Gemma2Model:
    sizes: dict[str, Any] = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2}
    heads: dict[str, Any] = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
    }
    ids: dict[str, Any] = {"vocab_size": tokens, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return Gemma2Model(Gemma2Config(**sizes, **heads, **ids))
