"""Clips of the world as latents: encoded once, kept on disk in shards. Captions are drawn again from the seeds."""

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
SEEDS = 20_000_000  # first seed of training clips; no other use has these seeds


@dataclass(frozen=True)
class LatentCache:
    """Encoded clips.

    Attributes:
        latents: (clips, ...), as the transformer reads them.
        cover: (clips, frames, h, w), share of each latent cell that objects fill.
        scenes: Scene of each clip.
    """

    latents: Tensor
    cover: Tensor
    scenes: Sequence[Scene]


def latent_cache(
    backbone: Any,
    folder: Path,
    clips: int,
    clip: tuple[int, int, int],
    seed: int,
    data: Mapping[str, Any],
    device: torch.device | str,
) -> LatentCache:
    """Encode clips with the backbone's VAE, or read them from existing shards of the same data.

    Args:
        backbone: Backbone of the pipeline.
        folder: Folder of the shards; it is created.
        clips: Number of clips.
        clip: Frames, height and width of a clip.
        seed: Seed of the clips.
        data: Description of the world and the VAE. Shards with another description are encoded again.
        device: Device of the drawing and of the result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, shown = [], []
    for shard in tqdm(range(-(-clips // SHARD)), "encoding clips", unit=f"{SHARD} clips"):
        scene_seed = SEEDS + seed * 100_000 + shard
        shard_scenes = list(scenes(scene_seed, SHARD))
        path = folder / f"{shard:05}.safetensors"
        metadata = {"of": json.dumps({**data, "seed": scene_seed}, sort_keys=True)}
        if _metadata(path) != metadata:
            save_file(_encoded(backbone, shard_scenes, clip, scene_seed, device), path.with_suffix(".part"), metadata)
            os.replace(path.with_suffix(".part"), path)
        parts.append(load_file(path))
        shown += shard_scenes
    latents, cover = (torch.cat([part[name] for part in parts])[:clips].to(device) for name in ("latents", "cover"))
    return LatentCache(latents, cover, shown[:clips])


def _metadata(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    with safe_open(path, "pt") as shard:
        return shard.metadata()


@torch.no_grad()
def _encoded(
    backbone: Any, shown: Sequence[Scene], clip: tuple[int, int, int], seed: int, device: torch.device | str
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, cover = [], []
    for start in range(0, len(shown), BATCH):
        drawn = draw(shown[start : start + BATCH], *clip, device)
        encoded = backbone.encode_clip(to_video(drawn.frames), generator)
        latents.append(encoded.half().cpu())
        height, width = (pixels // backbone.spatial_factor for pixels in clip[1:])
        cover.append(to_grid(drawn.masks.any(dim=1), height, width).half().cpu())
    return {"latents": torch.cat(latents), "cover": torch.cat(cover)}
