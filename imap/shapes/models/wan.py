"""A small Wan2.1: self-attention over video, cross-attention to text padded with zeros, rectified flow."""

from collections.abc import Sequence
from typing import Any

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor
from transformers import UMT5Config, UMT5EncoderModel

from imap.shapes.models.base import HEAD_WIDTH, HEADS, LATENT_CHANNELS, LAYERS, TEXT_WIDTH, WORDS, Recipe, flow
from imap.shapes.models.words import bind_t5, share_embeddings
from imap.shapes.world.scenes import NOUNS, VERBS
from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded


class Wan(Recipe):
    """WanPipeline whose UMT5 weights are set by `bind_t5`."""

    family = "wan"

    def build(self, seed: int = 0) -> WanPipeline:
        tokenizer: Any = tokenizers.sentencepiece(WORDS)
        scheduler: Any = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        )
        with seeded(seed):
            text_encoder = UMT5EncoderModel(_text_config(len(tokenizer))).eval()
            nouns: Any = tokenizer.convert_tokens_to_ids([f"▁{noun}" for noun in NOUNS])
            verbs: Any = tokenizer.convert_tokens_to_ids([f"▁{verb}" for verb in VERBS])
            bind_t5(text_encoder, nouns, verbs)
            share_embeddings(text_encoder, tokenizer, "▁")
            return WanPipeline(
                tokenizer=tokenizer,
                text_encoder=text_encoder,
                vae=_vae().eval(),
                transformer=_transformer().eval(),
                scheduler=scheduler,
            )

    def set_statistics(self, vae: Any, mean: Tensor, std: Tensor) -> None:
        vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())

    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        embeddings, _ = pipe.encode_prompt(list(captions), do_classifier_free_guidance=False, max_sequence_length=512)
        return {"encoder_hidden_states": embeddings}

    def add_noise(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return flow(clean, noise, level)

    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        return pipe.transformer(latents, timestep=timesteps, return_dict=False, **text)[0]


def _text_config(vocab_size: int) -> UMT5Config:
    return UMT5Config(vocab_size=vocab_size, d_model=TEXT_WIDTH, d_kv=16, d_ff=16, num_layers=1, num_heads=4)


def _transformer() -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        patch_size=(1, 1, 1),
        text_dim=TEXT_WIDTH,
        freq_dim=128,
        ffn_dim=512,
    )


def _vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=8,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        z_dim=LATENT_CHANNELS,
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )
