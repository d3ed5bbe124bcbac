"""A tiny HunyuanVideo-1.5: 3 dual-stream blocks of 6 heads, three text streams in one: image, ByT5, Qwen."""

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
)
from transformers import (
    ByT5Tokenizer,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

from imap.testing.tiny import tokenizers
from imap.testing.tiny.seeding import seeded

try:  # of transformers 5, without torchvision
    from transformers import SiglipImageProcessorPil as SiglipImageProcessor
except ImportError:
    from transformers import SiglipImageProcessor

TEXT_WIDTH = 32
GLYPH_WIDTH = 24
PICTURE = 32  # pixels of the picture's side, as the image encoder gets it
IMAGE_WIDTH = 20


def build(seed: int = 0) -> HunyuanVideo15Pipeline:
    """Build the pipeline on the CPU in float32; the same seed gives the same weights."""
    return HunyuanVideo15Pipeline(**_parts(seed, "t2v"))


def i2v(seed: int = 0) -> HunyuanVideo15ImageToVideoPipeline:
    """Build the pipeline that starts from a picture."""
    with seeded(seed + 1):
        config: Any = {"hidden_size": IMAGE_WIDTH, "intermediate_size": 40, "num_attention_heads": 2}
        encoder = SiglipVisionModel(SiglipVisionConfig(**config, num_hidden_layers=1, image_size=PICTURE, patch_size=8))
    features: Any = SiglipImageProcessor(size={"height": PICTURE, "width": PICTURE})
    return HunyuanVideo15ImageToVideoPipeline(
        **_parts(seed, "i2v"), image_encoder=encoder.eval(), feature_extractor=features
    )


def _parts(seed: int, task: str) -> dict[str, Any]:
    qwen, byt5 = tokenizers.qwen_vl(), ByT5Tokenizer()
    with seeded(seed):
        return {
            "tokenizer": qwen,
            "text_encoder": _text_encoder(qwen).eval(),
            "tokenizer_2": byt5,
            "text_encoder_2": _glyph_encoder(len(byt5)).eval(),
            "vae": _vae().eval(),
            "transformer": _transformer(task).eval(),
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
            "guider": ClassifierFreeGuidance(guidance_scale=6.0),
        }


def _transformer(task: str) -> HunyuanVideo15Transformer3DModel:
    return HunyuanVideo15Transformer3DModel(
        num_layers=3,
        num_refiner_layers=1,
        num_attention_heads=6,
        attention_head_dim=16,
        rope_axes_dim=(4, 6, 6),
        in_channels=17,
        out_channels=8,
        text_embed_dim=TEXT_WIDTH,
        text_embed_2_dim=GLYPH_WIDTH,
        image_embed_dim=IMAGE_WIDTH,
        target_size=45,  # of the area of 2 x 4 tokens
        task_type=task,
    )


def _vae() -> AutoencoderKLHunyuanVideo15:
    levels: Any = (16,) * 5
    return AutoencoderKLHunyuanVideo15(latent_channels=8, block_out_channels=levels, layers_per_block=1)


def _text_encoder(tokenizer: Any) -> Qwen2_5_VLTextModel:
    config = Qwen2_5_VLTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        initializer_range=TEXT_WIDTH**-0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2_5_VLTextModel(config)


def _glyph_encoder(vocab_size: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=vocab_size, d_model=GLYPH_WIDTH, d_kv=8, d_ff=48, num_layers=1, num_heads=3)
    )
