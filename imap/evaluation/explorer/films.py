"""Maps as films: their cells in a few frames, in the colours of the pictures, in one picture per sample."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from imap.atomic import replaced
from imap.evaluation.cells import over_cells

FRAMES, CELLS = 7, 24  # at most: frames of a film, and rows or columns of cells
COLOURS = "inferno"

Film = np.ndarray  # uint8 (frames, rows, columns), from the lowest value of the whole video to its highest one


def shown_frames(latent_frames: int) -> list[int]:
    """Latent frames of a film, the first and the last one included."""
    return np.unique(np.linspace(0, latent_frames - 1, min(latent_frames, FRAMES)).round().astype(int)).tolist()


def film(x: np.ndarray) -> Film:
    """Film of a map (latent frames, rows, columns). Cells of fine grids are averaged; a constant map is dark."""
    frames, rows, columns = x.shape
    scale = max(1, -(-max(rows, columns) // CELLS))
    grid = (frames, -(-rows // scale), -(-columns // scale))
    low, high = float(x.min()), float(x.max())
    shares = (x[shown_frames(frames)].astype(np.float32) - low) / ((high - low) or 1)
    return (255 * np.stack([over_cells(frame, grid) for frame in shares])).round().astype(np.uint8)


def write_films(path: Path, films: Sequence[Film]) -> None:
    """Write films as a PNG, one below the other, with frames from left to right."""
    picture = Image.fromarray(np.concatenate([np.concatenate(one, axis=1) for one in films]), mode="P")
    picture.putpalette(matplotlib.colormaps[COLOURS](np.arange(256), bytes=True)[:, :3].tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as part:
        picture.save(part, format="PNG", optimize=True)
