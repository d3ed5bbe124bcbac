"""Clips of the world as latents, encoded once and kept on disk in shards; captions are drawn again from the seeds."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from imap.shapes.world.drawing import draw, to_grid, to_video
from imap.shapes.world.scenes import Scene, scenes

SHARD = 200  # clips
BATCH = 20  # clips encoded at a time
SEEDS = 20_000_000  # of the training clips, apart from every other use


@dataclass(frozen=True)
class Bank:
    """latents (clips, ...) as the transformer is given them; cover (clips, frames, h, w), share of a cell that objects
    fill; the scenes that they show."""

    latents: Tensor
    cover: Tensor
    scenes: Sequence[Scene]


def bank(
    backbone: Any,
    folder: Path,
    clips: int,
    clip: tuple[int, int, int],
    seed: int,
    data: Mapping[str, Any],
    device: torch.device | str,
) -> Bank:
    """`clips` clips of (frames, height, width) through the backbone's VAE. Shards that are there, and that were made of
    the same `data` (world, VAE), are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, shown = [], []
    for shard in tqdm(range(-(-clips // SHARD)), "encoding clips", unit=f"{SHARD} clips"):
        scene_seed = SEEDS + seed * 100_000 + shard
        own = list(scenes(scene_seed, SHARD))
        path = folder / f"{shard:05}.safetensors"
        made_of = {"of": json.dumps({**data, "seed": scene_seed}, sort_keys=True)}
        if _metadata(path) != made_of:
            save_file(_encoded(backbone, own, clip, scene_seed, device), path.with_suffix(".part"), made_of)
            os.replace(path.with_suffix(".part"), path)
        parts.append(load_file(path))
        shown += own
    latents, cover = (torch.cat([part[name] for part in parts])[:clips].to(device) for name in ("latents", "cover"))
    return Bank(latents, cover, shown[:clips])


def _metadata(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    with safe_open(path, "pt") as shard:
        return shard.metadata()


@torch.no_grad()
def _encoded(
    backbone: Any, own: Sequence[Scene], clip: tuple[int, int, int], seed: int, device: torch.device | str
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, cover = [], []
    for start in range(0, len(own), BATCH):
        drawn = draw(own[start : start + BATCH], *clip, device)
        encoded = backbone.encode_clip(to_video(drawn.frames), generator)
        latents.append(encoded.half().cpu())
        size = [n // backbone.spatial_factor for n in clip[1:]]
        cover.append(to_grid(drawn.masks.any(dim=1), *size).half().cpu())
    return {"latents": torch.cat(latents), "cover": torch.cat(cover)}
