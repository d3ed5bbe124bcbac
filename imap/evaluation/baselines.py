"""Maps that need no model: what a score must beat."""

import numpy as np

from imap.evaluation.cells import Grid, to_cells

SPREAD = 0.25  # standard deviation of the centre prior, as a share of the frame's height and width
BASELINES = {  # what --baselines adds
    "uniform": "the same value everywhere",
    "centre_prior": "a Gaussian in the middle of the frame, the same in every frame",
    "frame_difference": "change from frame to frame: a motion detector that reads no word",
}
SHUFFLED = "shuffled_"  # before the key of a map: the map of another word of the same sample


def uniform(grid: Grid) -> np.ndarray:
    """A constant map, float32 (latent frames, rows, columns)."""
    return np.zeros(grid, np.float32)


def centre_prior(grid: Grid) -> np.ndarray:
    """A Gaussian in the middle of every frame, float32 (latent frames, rows, columns)."""
    down, across = (((np.arange(n) + 0.5) / n - 0.5) / SPREAD for n in grid[1:])
    frame = np.exp(-(down[:, None] ** 2 + across**2) / 2)
    return np.broadcast_to(frame, grid).astype(np.float32)


def frame_difference(frames: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean change of grey values since the frame before, in every cell; 0 in the first frame.

    Args:
        frames: uint8 (frames, height, width, 3).
        grid: latent frames, rows, columns.

    Returns:
        float32 (latent frames, rows, columns).
    """
    grey = np.stack([frame.mean(axis=-1, dtype=np.float32) for frame in frames])
    change = np.zeros_like(grey)
    change[1:] = np.abs(np.diff(grey, axis=0))
    return to_cells(change, grid)


def other_word(texts: tuple[str, ...], motions: frozenset[str], text: str) -> str | None:
    """The word whose map `shuffled` takes: the next one in the list of the same kind, else the next one.

    None for a single word. After the last word comes the first.
    """
    place = texts.index(text)
    others = [*texts[place + 1 :], *texts[:place]]
    alike = [other for other in others if (other in motions) == (text in motions)]
    return next(iter([*alike, *others]), None)
