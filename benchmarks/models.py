"""Pipelines to measure: narrow ones, and the paper's five models at full size, all with random weights."""

import argparse
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel, HunyuanVideoTransformer3DModel, WanTransformer3DModel

from imap.backbones.base import Backbone
from imap.testing import tiny

COG = {"text_embed_dim": 32, "time_embed_dim": 512}
WAN = {"text_dim": 32, "attention_head_dim": 128}
# full-size transformers and VAEs with the small pipelines' text encoders: only the text projection is narrower than in
# the real models
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
VAE_DTYPES = {"wan": torch.float32}  # as in configs/backbone/; the others have the dtype of the transformer
NARROW = {f"tiny_{family}": family for family in tiny.FAMILIES}
NAMES = (*NARROW, *FULL)


def add_model(command: argparse.ArgumentParser) -> None:
    """Add options for the pipeline and the size of its video."""
    command.add_argument("--model", choices=NAMES, default="tiny_cogvideox")
    command.add_argument("--height", type=int, default=480)
    command.add_argument("--width", type=int, help="default: 832 for Wan, 720 for the others")
    command.add_argument("--num-frames", type=int, default=49)


def chosen_size(options: argparse.Namespace) -> dict[str, int]:
    """Size of the video, as arguments of a pipeline call."""
    width = options.width or (832 if "wan" in options.model else 720)
    return {"height": options.height, "width": width, "num_frames": options.num_frames}


def tokens(size: dict[str, int]) -> int:
    """Visual tokens of a video. All three families have patches of two by two latent cells."""
    frames = (size["num_frames"] - 1) // Backbone.temporal_factor + 1
    cells = 2 * Backbone.spatial_factor
    return frames * (size["height"] // cells) * (size["width"] // cells)


def dtype_on(device: torch.device) -> torch.dtype:
    """Data type of the measured models."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def open_pipeline(name: str, device: torch.device) -> Any:
    """A pipeline to measure, without progress bars."""
    pipe = build(name, device, dtype_on(device))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def build(name: str, device: torch.device, dtype: torch.dtype, layers: int | None = None) -> Any:
    """A pipeline by name on a device. A full-size transformer and VAE are made there, never in the host's memory.

    Args:
        name: one of NAMES.
        device: where to build it.
        dtype: of the weights, but see VAE_DTYPES.
        layers: blocks of a narrow model, instead of its three or four.

    Returns:
        The diffusers pipeline.
    """
    pipe: Any
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
            pipe.vae = type(pipe.vae)().eval().requires_grad_(False)  # the default sizes are the published ones
    finally:
        torch.set_default_dtype(before)
    return pipe
