"""A tiny Mochi: 4 blocks of 6 heads, text of another width than the video, the last block without text output."""

from typing import Any

from diffusers import AutoencoderKLMochi, FlowMatchEulerDiscreteScheduler, MochiPipeline, MochiTransformer3DModel

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH, text_encoder
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> MochiPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.sentencepiece()
    with seeded(seed):
        pipe = MochiPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=_transformer().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        )
        pipe.transformer.pos_frequencies.data.normal_()  # zeros when new: nothing would be rotated
        return pipe


def _transformer() -> MochiTransformer3DModel:
    return MochiTransformer3DModel(
        num_layers=4,
        num_attention_heads=6,
        attention_head_dim=16,
        pooled_projection_dim=48,
        in_channels=12,
        text_embed_dim=TEXT_WIDTH,
        time_embed_dim=64,
    )


def _vae() -> AutoencoderKLMochi:
    widths: Any = (32, 32, 32, 32)  # type hints of diffusers allow only one level
    return AutoencoderKLMochi(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        layers_per_block=(1, 1, 1, 1, 1),
        add_attention_block=(False,) * 5,
    )
