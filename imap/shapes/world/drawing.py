"""Scenes drawn as pixels and as ground truth, at any size and length, on any device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor

from imap.shapes.world.scenes import NOUNS, SLOPE, SLOTS, WHITE, Scene, motion

TEMPORAL = 4  # frames per latent frame after the first, which is one frame


@dataclass(frozen=True)
class Drawn:
    """A batch of clips.

    Attributes:
        frames: uint8 (b, f, height, width, 3).
        masks: bool (b, things, f, height, width), the visible pixels of each thing.
        moving: bool (b, things, f), whether the thing's verb happens.
    """

    frames: Tensor
    masks: Tensor
    moving: Tensor


def draw(scenes: Sequence[Scene], frames: int, height: int, width: int, device: torch.device | str = "cpu") -> Drawn:
    """Draw scenes with soft edges.

    Positions are measured in heights of the frame, so a wider frame shows more at the right.

    Args:
        scenes: Scenes, one clip each.
        frames: Frames per clip.
        height: Pixels.
        width: Pixels.
        device: Device of the drawing.
    """
    parameters = np.stack([[_track(scene, slot, frames) for slot in range(SLOTS)] for scene in scenes])
    x, y, radius, white, moving = torch.from_numpy(parameters).float().to(device).unbind(dim=2)  # each (b, things, f)
    rows = (torch.arange(height, device=device) + 0.5) / height
    columns = (torch.arange(width, device=device) + 0.5) / height
    dx = columns - rearrange(x, "b k f -> b k f 1 1")
    dy = rearrange(rows, "h -> h 1") - rearrange(y, "b k f -> b k f 1 1")
    radius = rearrange(radius, "b k f -> b k f 1 1")
    distance = torch.empty(*x.shape, height, width, device=device)
    for b, scene in enumerate(scenes):
        for k, thing in enumerate(scene.things):
            distance[b, k] = _DISTANCES[thing.noun](dx[b, k], dy[b, k], radius[b, k])
    cover = (0.5 - distance * height).clamp(0, 1)
    picture = torch.stack([_background(scene, frames, height, width, device) for scene in scenes])
    colours = torch.tensor([[NOUNS[thing.noun] for thing in scene.things] for scene in scenes], device=device).float()
    for k in range(SLOTS):
        colour = torch.lerp(
            rearrange(colours[:, k], "b c -> b 1 1 1 c"),
            torch.tensor(float(WHITE), device=device),
            rearrange(white[:, k], "b f -> b f 1 1 1"),
        )
        for alpha in (_trails(cover[:, k], moving[:, k], scenes), cover[:, k]):
            picture = torch.lerp(picture, colour, alpha.unsqueeze(-1))
    # part of each thing that later things do not hide
    clear = (1 - cover.flip(1).cumsum(dim=1).flip(1) + cover).clamp(min=0)
    return Drawn(picture.round().byte(), cover * clear > 0.5, moving > 0.5)


def _trails(cover: Tensor, moving: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Trail of a moving thing, (b, f, h, w): its places within the last eighth of the clip, fading with age."""
    trail = torch.zeros_like(cover)
    if not any(scene.trails for scene in scenes):
        return trail
    length = max(1, cover.shape[1] // 8)
    for age in range(1, length + 1):
        trail[:, age:] = torch.maximum(trail[:, age:], cover[:, :-age] * 0.6 * (1 - age / (length + 1)))
    left = torch.tensor([scene.trails for scene in scenes], device=cover.device).float()
    return trail * rearrange(left, "b -> b 1 1 1") * rearrange(moving, "b f -> b f 1 1")


def _track(scene: Scene, slot: int, frames: int) -> np.ndarray:
    thing = scene.things[slot]
    path = motion(thing, frames)
    x = thing.x - scene.pan * (np.linspace(0.0, 1.0, frames) - 0.5)
    return np.stack([x, path.y, path.radius, path.white, path.moving])


def _ball(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    return (dx.square() + dy.square()).sqrt() - r


def _box(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(dx.abs(), dy.abs()) - 0.89 * r


def _kite(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    return (dx.abs() + dy.abs() - 1.25 * r) * 0.7071


def _ring(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    return ((dx.square() + dy.square()).sqrt() - 0.78 * r).abs() - 0.28 * r


def _cross(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    long, short = torch.maximum(dx.abs(), dy.abs()), torch.minimum(dx.abs(), dy.abs())
    return torch.maximum(long - 1.05 * r, short - 0.36 * r)


# signed distance to the edge of a shape of radius r, negative inside
_DISTANCES = {"ball": _ball, "box": _box, "kite": _kite, "ring": _ring, "cross": _cross}


def _background(scene: Scene, frames: int, height: int, width: int, device: torch.device | str) -> Tensor:
    """Background (f, height, width, 3): lighter towards the bottom. A texture adds soft blocks; a pan moves them."""
    slope = SLOPE * ((torch.arange(height, device=device) + 0.5) / height - 0.5)
    plain = torch.tensor(scene.background, device=device) + rearrange(slope, "h -> 1 h 1 1")
    plain = plain.expand(frames, height, width, 3)
    if scene.texture_seed is None:
        return plain
    rng = np.random.default_rng(scene.texture_seed)
    tiles = torch.from_numpy(rng.uniform(-24, 24, (1, 1, 12, 36))).float().to(device)
    time = torch.linspace(-0.5, 0.5, frames, device=device)
    rows = torch.linspace(-1, 1, height, device=device)
    columns = (torch.arange(width, device=device) + 0.5) / height * (2 / 3) - 1
    gx = rearrange(columns, "w -> 1 1 w") + rearrange(time * scene.pan * (2 / 3), "f -> f 1 1")
    gy = rearrange(rows, "h -> 1 h 1")
    points = torch.stack(torch.broadcast_tensors(gx, gy), dim=-1)
    pattern = torch.nn.functional.grid_sample(
        tiles.expand(frames, -1, -1, -1), points, padding_mode="reflection", align_corners=False
    )
    return plain + rearrange(pattern, "f 1 h w -> f h w 1")


def to_video(frames: Tensor) -> Tensor:
    """Convert uint8 (b, f, h, w, 3) to the VAE's input (b, 3, f, h, w) in [-1, 1]."""
    return rearrange(frames.float() / 127.5 - 1, "b f h w c -> b c f h w")


def to_grid(masks: Tensor, height: int, width: int) -> Tensor:
    """Share of each latent cell that masks cover.

    The first latent frame is the first frame. Each later one is the mean of four frames, as in the causal VAE.

    Args:
        masks: Masks (..., f, h, w).
        height: Latent rows.
        width: Latent columns.

    Returns:
        Shares (..., F, height, width), F latent frames.
    """
    cells = reduce(masks.float(), "... f (h a) (w b) -> ... f h w", "mean", h=height, w=width)
    first, rest = cells[..., :1, :, :], cells[..., 1:, :, :]
    rest = reduce(rest, "... (f t) h w -> ... f h w", "mean", t=TEMPORAL)
    return torch.cat([first, rest], dim=-3)


def to_latent_frames(moving: Tensor) -> Tensor:
    """Convert flags (..., f) to the share of set flags among the frames of each latent frame, (..., F)."""
    rest = reduce(moving[..., 1:].float(), "... (f t) -> ... f", "mean", t=TEMPORAL)
    return torch.cat([moving[..., :1].float(), rest], dim=-1)
