"""The three pictures that the judge sees of a map: grids of frames, of darkened frames, and of the map in colours."""

from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from einops import rearrange
from PIL import Image

from imap.view.normalization import normalize
from imap.view.overlay import coloured
from imap.view.upsampling import enlarge, latent_frame

COLUMNS, ROWS = 4, 3
LONGER = 320  # pixels of the longer side of a frame in a grid
COLORMAP = "inferno"


class Grids(NamedTuple):
    """Pictures, uint8 (height, width, 3)."""

    raw: np.ndarray
    darkened: np.ndarray
    heat: np.ndarray


def uniform_frames(frames: int) -> list[int]:
    """Indices of 12 frames from the first to the last, evenly spaced. Frames of a shorter video come repeatedly."""
    return np.linspace(0, frames - 1, COLUMNS * ROWS).round().astype(int).tolist()


def grids(frames: np.ndarray, x: np.ndarray, scale: str) -> Grids:
    """Grids of a map.

    Args:
        frames: uint8 (frames, height, width, 3), the video.
        x: map (latent frames, h, w). A constant one, or a constant frame, has no pixel above its mean.
        scale: frame or video, as in `imap.evaluation.judge.protocol.Protocol`.
    """
    height, width = cell_size(frames.shape[1], frames.shape[2])
    values = normalize(x[None], scale).values[0]
    means = values.mean(axis=(1, 2) if scale == "frame" else None, keepdims=True)
    means = np.broadcast_to(means, values.shape)[:, 0, 0]
    cells: list[Sequence[np.ndarray]] = []
    for frame in uniform_frames(len(frames)):
        latent = latent_frame(frame, len(x), len(frames))
        raw = np.asarray(Image.fromarray(frames[frame]).resize((width, height), Image.Resampling.LANCZOS))
        large = enlarge(values[latent], height, width)
        darkened = np.where((large > means[latent])[..., None], raw, raw // 2)
        cells.append((raw, darkened, coloured(large, COLORMAP)))
    return Grids(
        *(rearrange(np.stack(x), "(r c) h w rgb -> (r h) (c w) rgb", r=ROWS) for x in zip(*cells, strict=True))
    )


def cell_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a frame in a grid: its longer side is LONGER pixels, its proportions stay."""
    factor = LONGER / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def png(picture: np.ndarray) -> bytes:
    """A picture as PNG, which keeps every value."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()
