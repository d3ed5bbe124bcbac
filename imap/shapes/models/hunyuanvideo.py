"""A small HunyuanVideo: dual-stream blocks with masked text padding, no single-stream block, rectified flow."""

from collections.abc import Sequence
from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

from imap.shapes.models.base import (
    HEAD_WIDTH,
    HEADS,
    LATENT_CHANNELS,
    LAYERS,
    TEXT_SLOTS,
    TEXT_WIDTH,
    WORDS,
    Recipe,
    flow,
    freeze_gates_at_zero,
)
from imap.shapes.models.words import bind_llama, bind_refiner, share_embeddings
from imap.shapes.world.scenes import NOUNS, VERBS
from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

POOLED_WIDTH = 16


class HunyuanVideo(Recipe):
    """HunyuanVideoPipeline whose Llama and token refiner are set by `bind_llama` and `bind_refiner`."""

    family = "hunyuanvideo"

    def build(self, seed: int = 0) -> HunyuanVideoPipeline:
        llama: Any = tokenizers.llama(WORDS)
        clip: Any = tokenizers.clip(WORDS)
        with seeded(seed):
            text_encoder = LlamaModel(_text_config(llama)).eval()
            nouns: Any = llama.convert_tokens_to_ids([f"Ġ{noun}" for noun in NOUNS])
            verbs: Any = llama.convert_tokens_to_ids([f"Ġ{verb}" for verb in VERBS])
            bind_llama(text_encoder, nouns, verbs)
            share_embeddings(text_encoder, llama, "Ġ")
            transformer = _transformer().eval()
            embeddings: Any = text_encoder.embed_tokens.weight
            bind_refiner(transformer.context_embedder, embeddings[nouns])
            return HunyuanVideoPipeline(
                tokenizer=llama,
                text_encoder=text_encoder,
                tokenizer_2=clip,
                text_encoder_2=CLIPTextModel(_pooled_text_config(clip)).eval().requires_grad_(False),
                vae=_vae().eval(),
                transformer=transformer,
                scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            )

    def set_statistics(self, vae: Any, mean: Tensor, std: Tensor) -> None:
        vae.register_to_config(scaling_factor=float(1 / std.square().mean().sqrt()))

    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        # padding is masked, so 16 slots give the same training as the pipeline's 256
        embeddings, pooled, mask = pipe.encode_prompt(list(captions), max_sequence_length=TEXT_SLOTS)
        return {"encoder_hidden_states": embeddings, "pooled_projections": pooled, "encoder_attention_mask": mask}

    def add_noise(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return flow(clean, noise, level)

    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        return pipe.transformer(latents, timestep=timesteps, return_dict=False, **text)[0]


def _text_config(tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=16,
        num_hidden_layers=3,  # the pipeline reads the states before the last two layers: after the first
        num_attention_heads=4,
        num_key_value_heads=4,
        attention_bias=True,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _pooled_text_config(tokenizer: Any) -> CLIPTextConfig:
    # Without layers the pooled vector contains no word. So words act only through their tokens.
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=POOLED_WIDTH,
        intermediate_size=32,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=0,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _transformer() -> HunyuanVideoTransformer3DModel:
    transformer = HunyuanVideoTransformer3DModel(
        num_layers=LAYERS,
        num_single_layers=0,  # imap reads no maps from them, and they would also read words
        num_refiner_layers=1,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        rope_axes_dim=(4, 6, 6),
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_embed_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        guidance_embeds=False,
    )
    blocks: Any = transformer.transformer_blocks
    for block in blocks:
        # parts: shift, scale and gate of attention, then of the feed-forward
        freeze_gates_at_zero(block.norm1_context.linear, [2, 5])
    return transformer


def _vae() -> AutoencoderKLHunyuanVideo:
    levels: dict[str, Any] = {"block_out_channels": (8, 16, 16, 16)}  # type hints of diffusers allow only one level
    return AutoencoderKLHunyuanVideo(
        **levels,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        mid_block_add_attention=False,
    )
