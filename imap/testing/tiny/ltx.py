"""A tiny LTX-Video: 4 blocks of 6 heads, latents packed to tokens, text only through cross attention."""

from typing import Any

from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXPipeline, LTXVideoTransformer3DModel

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH, text_encoder
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> LTXPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.sentencepiece()
    with seeded(seed):
        return LTXPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=_transformer().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05),
        )


def _transformer() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(
        num_layers=4,
        num_attention_heads=6,
        attention_head_dim=16,
        cross_attention_dim=96,
        in_channels=16,
        out_channels=16,
        caption_channels=TEXT_WIDTH,
    )


def _vae() -> AutoencoderKLLTXVideo:
    widths = (8, 8, 8, 8)
    return AutoencoderKLLTXVideo(
        latent_channels=16,
        block_out_channels=widths,
        decoder_block_out_channels=widths,
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
