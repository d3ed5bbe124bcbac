"""A tiny LTX-2: 4 blocks of 6 heads, video and sound side by side, text through connectors with registers."""

from typing import Any

from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2ImageToVideoPipeline,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

TEXT_WIDTH, TEXT_LAYERS = 32, 2
MELS, HOP = 8, 320
SOUND = 4  # numbers of a token of sound: 2 channels of MELS / 4


def build(seed: int = 0, gated: bool = True) -> LTX2Pipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights.

    Args:
        seed: Seed of the weights.
        gated: Gates of head outputs and text that is modulated in each block, as in LTX-2.3; else as in LTX-2.0.
    """
    tokenizer: Any = tokenizers.gemma()
    with seeded(seed):
        return LTX2Pipeline(
            vae=_vae().eval(),
            tokenizer=tokenizer,
            text_encoder=_text_encoder(len(tokenizer)).eval(),
            connectors=_connectors(gated).eval(),
            audio_vae=_audio_vae().eval(),
            vocoder=_vocoder().eval(),
            transformer=_transformer(gated).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05),
        )


def i2v(seed: int = 0) -> LTX2ImageToVideoPipeline:
    """Build the pipeline that starts from a picture."""
    return LTX2ImageToVideoPipeline(**build(seed).components)


def _text_encoder(tokens: int) -> Gemma3ForConditionalGeneration:
    sizes = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": TEXT_LAYERS}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    ids = {"vocab_size": tokens, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14}
    return Gemma3ForConditionalGeneration(
        Gemma3Config(text_config={**sizes, **heads, **ids}, vision_config=vision, mm_tokens_per_image=4)
    )


def _connectors(gated: bool) -> LTX2TextConnectors:
    sizes = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": 128}
    of_streams: Any = {f"{x}_connector_{name}": value for x in ("video", "audio") for name, value in sizes.items()}
    return LTX2TextConnectors(
        caption_channels=TEXT_WIDTH,
        text_proj_in_factor=TEXT_LAYERS + 1,
        **of_streams,
        video_gated_attn=gated,
        audio_gated_attn=gated,
        rope_double_precision=False,
        rope_type="split",
    )


def _transformer(gated: bool) -> LTX2VideoTransformer3DModel:
    return LTX2VideoTransformer3DModel(
        num_layers=4,
        in_channels=16,
        out_channels=16,
        num_attention_heads=6,
        attention_head_dim=16,
        cross_attention_dim=96,
        audio_in_channels=SOUND,
        audio_out_channels=SOUND,
        audio_num_attention_heads=6,
        audio_attention_head_dim=8,
        audio_cross_attention_dim=48,
        audio_hop_length=HOP,
        caption_channels=TEXT_WIDTH,
        gated_attn=gated,
        audio_gated_attn=gated,
        cross_attn_mod=gated,
        audio_cross_attn_mod=gated,
        perturbed_attn=gated,
        rope_double_precision=False,
        rope_type="split",
    )


def _vae() -> AutoencoderKLLTX2Video:
    return AutoencoderKLLTX2Video(
        latent_channels=16,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def _audio_vae() -> AutoencoderKLLTX2Audio:
    return AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=MELS,
        mel_hop_length=HOP,
    )


def _vocoder() -> LTX2Vocoder:
    return LTX2Vocoder(
        in_channels=2 * MELS,
        hidden_channels=32,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    )
