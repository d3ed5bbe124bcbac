"""A small HunyuanVideo: dual-stream blocks with a mask on padded text, no single-stream block, rectified flow."""

from collections.abc import Sequence
from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

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
    shut,
)
from imap.shapes.models.words import bind_llama, bind_refiner, tell_alike
from imap.shapes.world.scenes import NOUNS, VERBS
from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

POOLED_WIDTH = 16


class HunyuanVideo(Recipe):
    """HunyuanVideoPipeline, its Llama and token refiner set by `bind_llama` and `bind_refiner`."""

    family = "hunyuanvideo"

    def build(self, seed: int = 0) -> HunyuanVideoPipeline:
        llama, clip = tokenizers.llama(WORDS), tokenizers.clip(WORDS)
        with seeded(seed):
            text_encoder = LlamaModel(_text_config(llama)).eval()
            nouns, verbs = (llama.convert_tokens_to_ids([f"Ġ{word}" for word in words]) for words in (NOUNS, VERBS))
            bind_llama(text_encoder, nouns, verbs)
            tell_alike(text_encoder, llama, "Ġ")
            transformer = _transformer().eval()
            bind_refiner(transformer.context_embedder, text_encoder.embed_tokens.weight[nouns])
            return HunyuanVideoPipeline(
                tokenizer=llama,
                text_encoder=text_encoder,
                tokenizer_2=clip,
                text_encoder_2=CLIPTextModel(_pooled_text_config(clip)).eval().requires_grad_(False),
                vae=_vae().eval(),
                transformer=transformer,
                scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            )

    def set_statistics(self, vae: nn.Module, mean: Tensor, std: Tensor) -> None:
        vae.register_to_config(scaling_factor=float(1 / std.square().mean().sqrt()))

    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        # padding is masked out, so that a short one trains as the pipeline's 256 slots would
        embeddings, pooled, mask = pipe.encode_prompt(list(captions), max_sequence_length=TEXT_SLOTS)
        return {"encoder_hidden_states": embeddings, "pooled_projections": pooled, "encoder_attention_mask": mask}

    def noised(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return flow(clean, noise, level)

    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        return pipe.transformer(latents, timestep=timesteps, return_dict=False, **text)[0]


def _text_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=16,
        num_hidden_layers=3,  # the pipeline reads the states before the last two: after the first layer
        num_attention_heads=4,
        num_key_value_heads=4,
        attention_bias=True,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _pooled_text_config(tokenizer: PreTrainedTokenizerFast) -> CLIPTextConfig:
    # no layers: the pooled vector knows no word, so that words act through their own tokens alone
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
        num_single_layers=0,  # no maps come from them, and words that they look up would be lost
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
    for block in transformer.transformer_blocks:
        shut(block.norm1_context.linear, [2, 5])  # shift, scale and gate of attention, and of the feed-forward
    return transformer


def _vae() -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=LATENT_CHANNELS,
        mid_block_add_attention=False,
    )
