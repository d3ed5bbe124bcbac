"""A tiny EasyAnimate: 4 blocks of 6 heads, joint attention with other projections for text than for video."""

from typing import Any

from diffusers import (
    AutoencoderKLMagvit,
    EasyAnimatePipeline,
    EasyAnimateTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
)
from torch import nn
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from imap.testing.tiny import tokenizers
from imap.testing.tiny.cogvideox import TEXT_WIDTH
from imap.testing.tiny.seeding import seeded


def build(seed: int = 0) -> EasyAnimatePipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    tokenizer: Any = tokenizers.qwen()
    tokenizer.chat_template += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    with seeded(seed):
        return EasyAnimatePipeline(
            tokenizer=tokenizer,
            text_encoder=_language_model(len(tokenizer)).eval(),
            vae=_vae().eval(),
            transformer=_transformer().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        )


def _transformer() -> EasyAnimateTransformer3DModel:
    transformer = EasyAnimateTransformer3DModel(
        num_layers=4,
        mmdit_layers=4,
        num_attention_heads=6,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        patch_size=2,
        time_embed_dim=32,
        add_norm_text_encoder=True,
        text_embed_dim=TEXT_WIDTH,
    )
    for name, weight in transformer.named_parameters():
        if ".attn1.norm_" in name:  # not ones and zeros, which no norm would need
            nn.init.uniform_(weight, 0.5, 1.5)
    return transformer


def _vae() -> AutoencoderKLMagvit:
    return AutoencoderKLMagvit(
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        spatial_group_norm=False,
    )


def _language_model(tokens: int) -> Qwen2VLForConditionalGeneration:
    text = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "vocab_size": tokens,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": TEXT_WIDTH, "num_heads": 2}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision))
