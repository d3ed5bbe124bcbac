"""A map laid over its video, frame by frame."""

import matplotlib
import numpy as np
from PIL import Image

DARKENED = 0.55  # share of the video's light that an opaque map takes where it is 0
SHORT_SIDE = 256  # pixels that a small video is enlarged to, in whole multiples


def coloured(x: np.ndarray, colormap: str) -> np.ndarray:
    """Values in [0, 1] to uint8 colours, (..., 3)."""
    return matplotlib.colormaps[colormap](x, bytes=True)[..., :3]


def grey(frames: np.ndarray) -> np.ndarray:
    """Luma of uint8 colours (..., 3), float32 (..., 1) in [0, 255]."""
    return frames @ np.array([[0.299], [0.587], [0.114]], np.float32)


def overlay(frames: np.ndarray, x: np.ndarray, colormap: str = "inferno", opacity: float = 0.8) -> np.ndarray:
    """Frames, uint8 (f, h, w, 3), in grey under a map (f, h, w) in [0, 1]: where it is 0 they show, darkened.

    In grey, as an object's own colour would read as a value of the map.
    """
    share = (opacity * x)[..., None].astype(np.float32)
    dark = grey(frames) * np.float32(1 - DARKENED * opacity)
    return (dark * (1 - share) + coloured(x, colormap) * share).round().astype(np.uint8)


def side_by_side(pictures: list[np.ndarray], gap: int = 4) -> np.ndarray:
    """Videos of one size next to each other, with white between them."""
    white = np.full((*pictures[0].shape[:2], gap, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, white)][:-1], axis=2)


def enlarged(frames: np.ndarray, short_side: int = SHORT_SIDE) -> np.ndarray:
    """A small video in whole multiples of its size, by cells; others as they are, cut to even sides."""
    factor = max(1, round(short_side / min(frames.shape[1:3])))
    large = frames.repeat(factor, axis=1).repeat(factor, axis=2)
    return large[:, : large.shape[1] // 2 * 2, : large.shape[2] // 2 * 2]


def write_gif(frames: np.ndarray, path: str, fps: int) -> None:
    """An endless gif of uint8 frames."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
