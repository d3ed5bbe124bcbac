"""A tiny HunyuanVideo: 3 dual-stream blocks, 1 single-stream block and 1 text refiner block, 6 heads each."""

from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

TEXT_WIDTH = 32
POOLED_WIDTH = 24


def build(seed: int = 0) -> HunyuanVideoPipeline:
    """Returns the pipeline on the CPU in float32, with random weights drawn from `seed`."""
    llama, clip = tokenizers.llama(), tokenizers.clip()
    with seeded(seed):
        return HunyuanVideoPipeline(
            tokenizer=llama,
            text_encoder=_text_encoder(llama).eval(),
            tokenizer_2=clip,
            text_encoder_2=_pooled_text_encoder(clip).eval(),
            vae=_vae().eval(),
            transformer=_transformer().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        )


def _transformer() -> HunyuanVideoTransformer3DModel:
    return HunyuanVideoTransformer3DModel(
        num_layers=3,
        num_single_layers=1,
        num_refiner_layers=1,
        num_attention_heads=6,
        attention_head_dim=16,
        rope_axes_dim=(4, 6, 6),  # frames, height, width: even, and together the head width
        in_channels=16,
        out_channels=16,
        text_embed_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
    )


def _vae() -> AutoencoderKLHunyuanVideo:
    return AutoencoderKLHunyuanVideo(
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=16,
        # Its attention over all latent positions takes gigabytes at 480x720, and no map depends on it.
        mid_block_add_attention=False,
    )


def _text_encoder(tokenizer: PreTrainedTokenizerFast) -> LlamaModel:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,  # the pipeline reads the states before the last two: after one layer, not zero
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # At the default 0.02 all words would look alike to the refiner, whose biases are larger than that.
        initializer_range=TEXT_WIDTH**-0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaModel(config)


def _pooled_text_encoder(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=POOLED_WIDTH,
        intermediate_size=48,
        projection_dim=POOLED_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,  # where it pools
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
