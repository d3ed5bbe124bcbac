"""A tiny Allegro: 4 blocks of 6 heads, text only through cross attention, four frames in every latent frame."""

from typing import Any

from diffusers import AllegroPipeline, AllegroTransformer3DModel, AutoencoderKLAllegro, DDIMScheduler

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH, text_encoder
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> AllegroPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.sentencepiece()
    scheduler: Any = DDIMScheduler()
    with seeded(seed):
        pipe = AllegroPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=_transformer().eval(),
            scheduler=scheduler,
        )
        pipe.vae.enable_tiling()  # this VAE runs in tiles only
        return pipe


def _transformer() -> AllegroTransformer3DModel:
    return AllegroTransformer3DModel(
        num_layers=4,
        num_attention_heads=6,
        attention_head_dim=24,  # a multiple of 6: rotary embeddings split it into three equal, even parts
        cross_attention_dim=144,
        in_channels=4,
        out_channels=4,
        sample_height=8,
        sample_width=8,
        sample_frames=8,
        caption_channels=TEXT_WIDTH,
    )


def _vae() -> AutoencoderKLAllegro:
    return AutoencoderKLAllegro(
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
    )
