"""A tiny HunyuanVideo: 3 dual-stream blocks, 1 single-stream block and 1 text refiner block, 6 heads each."""

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanSkyreelsImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

TEXT_WIDTH = 32
POOLED_WIDTH = 24


def build(seed: int = 0) -> HunyuanVideoPipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    llama: Any = tokenizers.llama()
    clip: Any = tokenizers.clip()
    with seeded(seed):
        return HunyuanVideoPipeline(
            tokenizer=llama,
            text_encoder=LlamaModel(text_config(llama)).eval(),
            tokenizer_2=clip,
            text_encoder_2=_pooled_text_encoder(clip).eval(),
            vae=_vae().eval(),
            transformer=transformer().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        )


def skyreels_i2v(seed: int = 0) -> HunyuanSkyreelsImageToVideoPipeline:
    """Build the pipeline that starts from a picture in the channels of the video."""
    parts = build(seed).components
    with seeded(seed + 1):
        made = transformer(in_channels=32, guidance_embeds=False)
    return HunyuanSkyreelsImageToVideoPipeline(**{**parts, "transformer": made.eval()})


def transformer(**changed: Any) -> HunyuanVideoTransformer3DModel:
    """A tiny transformer with weights from torch's random numbers. changed: other values of its configuration."""
    config: dict[str, Any] = {
        "num_layers": 3,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "num_attention_heads": 6,
        "attention_head_dim": 16,
        "rope_axes_dim": (4, 6, 6),  # frames, height, width: even numbers; their sum is the head width
        "in_channels": 16,
        "out_channels": 16,
        "text_embed_dim": TEXT_WIDTH,
        "pooled_projection_dim": POOLED_WIDTH,
        "guidance_embeds": True,
    }
    return HunyuanVideoTransformer3DModel(**config | changed)


def _vae() -> AutoencoderKLHunyuanVideo:
    levels: dict[str, Any] = {"block_out_channels": (4, 4, 8, 8)}  # type hints of diffusers allow only one level
    return AutoencoderKLHunyuanVideo(
        **levels,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=16,
        # Attention over all latent positions needs gigabytes at 480x720. No map depends on it.
        mid_block_add_attention=False,
    )


def text_config(tokenizer: Any) -> LlamaConfig:
    """Configuration of the language model."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,  # the pipeline reads the states before the last two layers
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # The default is 0.02. The refiner's biases are larger, so it would not distinguish words.
        initializer_range=TEXT_WIDTH**-0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _pooled_text_encoder(tokenizer: Any) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=POOLED_WIDTH,
        intermediate_size=48,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,  # the pooled position
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
