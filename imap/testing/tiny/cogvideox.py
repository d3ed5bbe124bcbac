"""A tiny CogVideoX: 4 blocks of 6 heads, in the layout of the 5b checkpoint or of 2b (sin-cos positions)."""

from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

TEXT_WIDTH = 32


def build(seed: int = 0, *, rotary: bool = True) -> CogVideoXPipeline:
    """Build the pipeline on the CPU in float32.

    Args:
        seed: Seed of the weights.
        rotary: True gives the layout of CogVideoX-5b (rotary embeddings, DPM scheduler). False gives that of
            CogVideoX-2b (sin-cos positions added to the patches, DDIM scheduler).
    """
    tokenizer: Any = tokenizers.sentencepiece()
    with seeded(seed):
        return CogVideoXPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder(len(tokenizer)).eval(),
            vae=_vae(scaling_factor=0.7 if rotary else 1.15258426).eval(),
            transformer=transformer(use_rotary_positional_embeddings=rotary).eval(),
            scheduler=_scheduler(rotary),
        )


def transformer(**changed: Any) -> CogVideoXTransformer3DModel:
    """A tiny transformer with weights from torch's random numbers. changed: of its configuration."""
    layout: dict[str, Any] = {
        "num_layers": 4,
        "num_attention_heads": 6,
        "attention_head_dim": 16,  # a multiple of 16: rotary embeddings split it into 4, 6 and 6
        "in_channels": 16,
        "out_channels": 16,
        "time_embed_dim": 64,
        "text_embed_dim": TEXT_WIDTH,
        "max_text_seq_length": 226,
        "sample_height": 60,
        "sample_width": 90,
        "sample_frames": 49,
    }
    return CogVideoXTransformer3DModel(**layout | changed)


def _vae(scaling_factor: float) -> AutoencoderKLCogVideoX:
    levels: dict[str, Any] = {  # type hints of diffusers allow only one level
        "block_out_channels": (4, 4, 8, 8),
        "down_block_types": ("CogVideoXDownBlock3D",) * 4,
        "up_block_types": ("CogVideoXUpBlock3D",) * 4,
    }
    return AutoencoderKLCogVideoX(
        **levels,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=16,
        temporal_compression_ratio=4,
        scaling_factor=scaling_factor,
    )


def text_encoder(vocab_size: int) -> T5EncoderModel:
    """A tiny T5 encoder with weights from torch's random numbers."""
    config = T5Config(
        vocab_size=vocab_size,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def _scheduler(rotary: bool) -> CogVideoXDPMScheduler | CogVideoXDDIMScheduler:
    kind, snr_shift_scale = (CogVideoXDPMScheduler, 1.0) if rotary else (CogVideoXDDIMScheduler, 3.0)
    return kind(
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        snr_shift_scale=snr_shift_scale,
    )
