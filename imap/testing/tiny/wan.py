"""A tiny Wan 2.1: 4 blocks of 6 heads, in which video attends to text only through cross attention."""

from typing import Any

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

TEXT_WIDTH = 32
SIZE: dict[str, Any] = {
    "num_layers": 4,
    "num_attention_heads": 6,
    "attention_head_dim": 24,  # a multiple of 6: rotary embeddings split it into three equal, even parts
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 64,
    "ffn_dim": 240,
}


def build(seed: int = 0) -> WanPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.sentencepiece()
    scheduler: Any = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    with seeded(seed):
        return WanPipeline(
            tokenizer=tokenizer,
            text_encoder=_text_encoder(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=transformer().eval(),
            scheduler=scheduler,
        )


def transformer(**layout: Any) -> WanTransformer3DModel:
    """A tiny transformer with weights from torch's random numbers. layout: other values of its configuration."""
    return WanTransformer3DModel(**SIZE | layout)


def _vae() -> AutoencoderKLWan:
    # The default latents_mean and latents_std are those of Wan 2.1.
    return AutoencoderKLWan(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, z_dim=16)


def _text_encoder(vocab_size: int) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=vocab_size,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
    )
    return UMT5EncoderModel(config)
