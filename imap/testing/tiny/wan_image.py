"""Tiny Wan pipelines that start from a picture, read one per token, or have control blocks."""

from typing import Any

from diffusers import (
    AutoencoderKLWan,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import CLIPVisionConfig, CLIPVisionModel

from imap.testing.tiny import wan
from imap.testing.tiny.seeding import seeded

try:  # of transformers 5, without torchvision
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:
    from transformers import CLIPImageProcessor

PICTURE = 32  # pixels of the picture's side, as the image encoder gets it
IMAGE_WIDTH = 20


def i2v(seed: int = 0) -> WanImageToVideoPipeline:
    """A tiny Wan2.1 image-to-video pipeline."""
    return _from_picture(seed, image_dim=IMAGE_WIDTH, added_kv_proj_dim=144)


def flf2v(seed: int = 0) -> WanImageToVideoPipeline:
    """A tiny Wan2.1 pipeline from a first and a last frame."""
    tokens = 2 * ((PICTURE // 8) ** 2 + 1)
    return _from_picture(seed, image_dim=IMAGE_WIDTH, added_kv_proj_dim=144, pos_embed_seq_len=tokens)


def a14b_i2v(seed: int = 0) -> WanImageToVideoPipeline:
    """A tiny Wan2.2 A14B image-to-video pipeline: two transformers, and no image encoder."""
    parts = wan.build(seed).components
    with seeded(seed + 1):
        both = [wan.transformer(in_channels=36).eval() for _ in range(2)]
    return WanImageToVideoPipeline(**{**parts, "transformer": both[0], "transformer_2": both[1], "boundary_ratio": 0.9})


def ti2v(seed: int = 0) -> WanPipeline:
    """A tiny Wan2.2 TI2V pipeline from text: a timestep for each token, and a VAE that divides space by 16."""
    return WanPipeline(**_ti2v_parts(seed), expand_timesteps=True)


def ti2v_i2v(seed: int = 0) -> WanImageToVideoPipeline:
    """The same model from a picture."""
    return WanImageToVideoPipeline(**_ti2v_parts(seed), expand_timesteps=True)


def vace(seed: int = 0, second: bool = False) -> WanVACEPipeline:
    """A tiny Wan VACE pipeline. second: with two transformers, as in Wan2.2."""
    parts = wan.build(seed).components
    control: Any = {"vace_layers": [0, 2], "vace_in_channels": 96}
    with seeded(seed + 1):
        made = [WanVACETransformer3DModel(**wan.SIZE, **control).eval() for _ in range(2 if second else 1)]
    more = {"transformer_2": made[1], "boundary_ratio": 0.875} if second else {}
    return WanVACEPipeline(**{**parts, "transformer": made[0], **more})


def vace_a14b(seed: int = 0) -> WanVACEPipeline:
    """A tiny Wan2.2 VACE pipeline: two transformers."""
    return vace(seed, second=True)


def _from_picture(seed: int, **layout: Any) -> WanImageToVideoPipeline:
    parts = wan.build(seed).components
    with seeded(seed + 1):
        transformer = wan.transformer(in_channels=36, **layout).eval()
        places: Any = getattr(transformer.condition_embedder.image_embedder, "pos_embed", None)
        if places is not None:  # zeros when new
            places.data.normal_()
        encoder = CLIPVisionModel(vision()).eval()
    parts |= {"transformer": transformer, "image_encoder": encoder, "image_processor": image_processor()}
    return WanImageToVideoPipeline(**parts)


def vision(**more: Any) -> CLIPVisionConfig:
    """Configuration of a tiny encoder of pictures. more: further values."""
    size = {"hidden_size": IMAGE_WIDTH, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
    return CLIPVisionConfig(**size, image_size=PICTURE, patch_size=8, **more)


def image_processor() -> Any:
    """Scales pictures to the encoder's size."""
    return CLIPImageProcessor(size={"shortest_edge": PICTURE}, crop_size={"height": PICTURE, "width": PICTURE})


def _ti2v_parts(seed: int) -> dict[str, Any]:
    parts = wan.build(seed).components
    with seeded(seed + 1):
        vae = AutoencoderKLWan(
            base_dim=4,
            decoder_base_dim=4,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            z_dim=48,
            is_residual=True,
            patch_size=2,
            in_channels=12,
            out_channels=12,
            scale_factor_spatial=16,
            latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48,
        ).eval()
        transformer: WanTransformer3DModel = wan.transformer(in_channels=48, out_channels=48).eval()
    return {**parts, "vae": vae, "transformer": transformer}
