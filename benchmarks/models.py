"""Pipelines to measure on: narrow ones, and the paper's five at full size, all with random weights."""

import argparse

import torch
from diffusers import (
    CogVideoXTransformer3DModel,
    DiffusionPipeline,
    HunyuanVideoTransformer3DModel,
    WanTransformer3DModel,
)

from imap.backbones.base import Backbone
from imap.testing import tiny

COG = {"text_embed_dim": 32, "time_embed_dim": 512}
WAN = {"text_dim": 32, "attention_head_dim": 128}
# full-size transformers and VAEs on the small pipelines' text encoders: only the text projection is narrower than the
# real one
FULL = {
    "cogvideox_2b": ("cogvideox", CogVideoXTransformer3DModel, {**COG, "num_attention_heads": 30, "num_layers": 30}),
    "cogvideox_5b": (
        "cogvideox",
        CogVideoXTransformer3DModel,
        {**COG, "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
    ),
    "wan2_1_1_3b": (
        "wan",
        WanTransformer3DModel,
        {**WAN, "num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960},
    ),
    "wan2_1_14b": (
        "wan",
        WanTransformer3DModel,
        {**WAN, "num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824},
    ),
    "hunyuanvideo": (
        "hunyuanvideo",
        HunyuanVideoTransformer3DModel,
        {"text_embed_dim": 32, "pooled_projection_dim": 24},
    ),
}
VAE_DTYPES = {"wan": torch.float32}  # as the presets of configs/backbone/ say; the others' are as the transformer
NARROW = {f"tiny_{family}": family for family in tiny.FAMILIES}
NAMES = (*NARROW, *FULL)


def add_model(command: argparse.ArgumentParser) -> None:
    """Let a command line choose a pipeline, and the size of its video."""
    command.add_argument("--model", choices=NAMES, default="tiny_cogvideox")
    command.add_argument("--height", type=int, default=480)
    command.add_argument("--width", type=int, help="default: 832 for Wan, 720 for the others")
    command.add_argument("--num-frames", type=int, default=49)


def chosen_size(options: argparse.Namespace) -> dict[str, int]:
    """Size of the video that was chosen, as pipelines take it."""
    width = options.width or (832 if "wan" in options.model else 720)
    return {"height": options.height, "width": width, "num_frames": options.num_frames}


def tokens(size: dict[str, int]) -> int:
    """Visual tokens of a video of that size: all three families have patches of two by two latent cells."""
    frames = (size["num_frames"] - 1) // Backbone.temporal_factor + 1
    cells = 2 * Backbone.spatial_factor
    return frames * (size["height"] // cells) * (size["width"] // cells)


def dtype_on(device: torch.device) -> torch.dtype:
    """What models are measured in."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def opened(name: str, device: torch.device) -> DiffusionPipeline:
    """A pipeline to measure on, without progress bars."""
    pipe = build(name, device, dtype_on(device))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def build(name: str, device: torch.device, dtype: torch.dtype, layers: int | None = None) -> DiffusionPipeline:
    """A pipeline by name on a device, its full-size transformer and VAE made there, so that the host never holds them.

    layers: of a narrow one, instead of its own three or four.
    """
    if name in NARROW:
        pipe = tiny.build(NARROW[name])
        if layers:
            torch.manual_seed(0)
            made = type(pipe.transformer).from_config(pipe.transformer.config, num_layers=layers)
            pipe.transformer = made.eval().requires_grad_(False)
        return pipe.to(device, dtype)
    family, transformer, config = FULL[name]
    pipe = tiny.build(family).to(device, dtype)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            pipe.transformer = transformer(**config).eval().requires_grad_(False)
        torch.set_default_dtype(VAE_DTYPES.get(family, dtype))
        with device:
            pipe.vae = type(pipe.vae)().eval().requires_grad_(False)  # its own defaults are the published sizes
    finally:
        torch.set_default_dtype(before)
    return pipe
