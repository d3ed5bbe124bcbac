"""A small CogVideoX in the layout of the 5B: joint attention over [text, video], rotary positions, v-prediction."""

from collections.abc import Sequence
from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from imap.shapes.models.base import (
    HEAD_WIDTH,
    HEADS,
    LATENT_CHANNELS,
    LAYERS,
    TEXT_SLOTS,
    TEXT_WIDTH,
    TRAIN_TIMESTEPS,
    WORDS,
    Recipe,
    freeze_gates_at_zero,
)
from imap.shapes.models.words import bind_t5, share_embeddings
from imap.shapes.world.scenes import NOUNS, VERBS
from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded


class CogVideoX(Recipe):
    """CogVideoXPipeline whose T5 weights are set by `bind_t5`."""

    family = "cogvideox"

    def build(self, seed: int = 0) -> CogVideoXPipeline:
        tokenizer: Any = tokenizers.sentencepiece(WORDS)
        with seeded(seed):
            text_encoder = T5EncoderModel(_text_config(len(tokenizer))).eval()
            nouns: Any = tokenizer.convert_tokens_to_ids([f"▁{noun}" for noun in NOUNS])
            verbs: Any = tokenizer.convert_tokens_to_ids([f"▁{verb}" for verb in VERBS])
            bind_t5(text_encoder, nouns, verbs)
            share_embeddings(text_encoder, tokenizer, "▁")
            return CogVideoXPipeline(
                tokenizer=tokenizer,
                text_encoder=text_encoder,
                vae=_vae().eval(),
                transformer=_transformer().eval(),
                scheduler=CogVideoXDPMScheduler(
                    prediction_type="v_prediction",
                    timestep_spacing="trailing",
                    rescale_betas_zero_snr=True,
                    snr_shift_scale=1.0,
                ),
            )

    def set_statistics(self, vae: Any, mean: Tensor, std: Tensor) -> None:
        vae.register_to_config(scaling_factor=float(1 / std.square().mean().sqrt()))

    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        slots = pipe.transformer.config.max_text_seq_length
        embeddings, _ = pipe.encode_prompt(list(captions), do_classifier_free_guidance=False, max_sequence_length=slots)
        return {"encoder_hidden_states": embeddings}

    def add_noise(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        timesteps = (level * TRAIN_TIMESTEPS).long()
        noisy = pipe.scheduler.add_noise(clean, noise, timesteps)
        return noisy, timesteps, pipe.scheduler.get_velocity(clean, noise, timesteps)

    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        frames, height, width = latents.shape[1], *(8 * size for size in latents.shape[3:])
        rotary = pipe._prepare_rotary_positional_embeddings(height, width, frames, latents.device)
        return pipe.transformer(latents, timestep=timesteps, image_rotary_emb=rotary, return_dict=False, **text)[0]


def _text_config(vocab_size: int) -> T5Config:
    return T5Config(vocab_size=vocab_size, d_model=TEXT_WIDTH, d_kv=16, d_ff=16, num_layers=1, num_heads=4)


def _transformer() -> CogVideoXTransformer3DModel:
    transformer = CogVideoXTransformer3DModel(
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        time_embed_dim=128,
        text_embed_dim=TEXT_WIDTH,
        max_text_seq_length=TEXT_SLOTS,
        patch_size=1,
        sample_height=8,
        sample_width=8,
        sample_frames=25,
        use_rotary_positional_embeddings=True,
    )
    blocks: Any = transformer.transformer_blocks
    for block in blocks:
        for norm in (block.norm1, block.norm2):  # parts: shift, scale and gate of the video, then of the text
            freeze_gates_at_zero(norm.linear, [5])
    return transformer


def _vae() -> AutoencoderKLCogVideoX:
    levels: dict[str, Any] = {  # type hints of diffusers allow only one level
        "block_out_channels": (8, 16, 16, 16),
        "down_block_types": ("CogVideoXDownBlock3D",) * 4,
        "up_block_types": ("CogVideoXUpBlock3D",) * 4,
    }
    return AutoencoderKLCogVideoX(
        **levels,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        temporal_compression_ratio=4,
    )
