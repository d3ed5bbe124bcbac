"""Region similarity J and boundary accuracy F of masks, as in DAVIS (Perazzi et al. 2016, Pont-Tuset et al. 2017).

Masks are booleans (frames, height, width). Scores are per frame; that of a video is their mean over all frames, the
first and the last one included. Frames in which the object is neither there nor found score 1, and frames in which it
is one of the two score 0. Void pixels are taken out of both masks before (`&= ~void`). A video in which the object
never is has no score: callers give nan.

`vos-benchmark` gives the same numbers, but leaves out frames before the object is there or found for the first time.
They count here, because a motion that has not begun must not be found.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np

BOUNDARY = 0.008  # tolerance of F, as a share of the frame's diagonal
LEVELS = 256  # thresholds to choose from, as of maps of 8 bits


def counts(masks: np.ndarray) -> np.ndarray:
    """True pixels of every frame, (frames,). Several times as fast as a sum over axes."""
    return np.array([np.count_nonzero(frame) for frame in masks])


def region_j(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """J of every frame, (frames,): intersection over union of two masks."""
    both, either = counts(found & truth), counts(found | truth)
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def dilated(masks: np.ndarray, radius: float) -> np.ndarray:
    """Pixels at most `radius` away from a pixel of a mask (..., height, width), by the centres of pixels."""
    height, squared = masks.shape[-2], int(radius**2 + 1e-9)
    result, wide, reach = np.zeros_like(masks), masks.copy(), 0
    for rows in range(isqrt(squared), -1, -1):  # from the disk's outermost rows, which are narrow, to its middle
        while reach < isqrt(squared - rows**2):
            reach += 1
            wide[..., reach:] |= masks[..., :-reach]
            wide[..., :-reach] |= masks[..., reach:]
        left = max(height - rows, 0)
        result[..., rows:, :] |= wide[..., :left, :]
        result[..., :left, :] |= wide[..., rows:, :]
    return result


def edges(masks: np.ndarray) -> np.ndarray:
    """Boundary pixels of masks (..., height, width): those that differ from the pixel right, below, or both.

    Half a pixel is lost towards the origin, and a mask that fills the frame has no boundary, as in DAVIS.
    """
    right, below, both = masks.copy(), masks.copy(), masks.copy()
    right[..., :-1] = masks[..., 1:]
    below[..., :-1, :] = masks[..., 1:, :]
    both[..., :-1, :-1] = masks[..., 1:, 1:]
    return (masks ^ right) | (masks ^ below) | (masks ^ both)


@dataclass(frozen=True)
class Outline:
    """Boundaries of masks, ready for `boundary_f`.

    Attributes:
        edge: booleans (frames, height, width), the boundary pixels.
        near: booleans (frames, height, width), the pixels within the tolerance of one.
        length: integers (frames,), how many boundary pixels there are.
    """

    edge: np.ndarray
    near: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, masks: np.ndarray, tolerance: float = BOUNDARY) -> "Outline":
        """Outline of masks. tolerance: as a share of the diagonal; pixels, rounded up, are the radius."""
        edge = edges(masks)
        radius = float(np.ceil(tolerance * np.linalg.norm(masks.shape[-2:])))
        return cls(edge, dilated(edge, radius), counts(edge))

    def __getitem__(self, frames: np.ndarray) -> "Outline":
        return Outline(self.edge[frames], self.near[frames], self.length[frames])


def boundary_f(found: Outline, truth: Outline) -> np.ndarray:
    """F of every frame, (frames,): F1 of boundary pixels that have one of the other mask within the tolerance."""
    precision = counts(found.edge & truth.near) / np.maximum(found.length, 1)
    recall = counts(truth.edge & found.near) / np.maximum(truth.length, 1)
    f = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return np.where((found.length == 0) & (truth.length == 0), 1.0, f)


def levels_of(x: np.ndarray) -> np.ndarray:
    """Thresholds to try, float32: LEVELS even steps from the lowest value of a map, left out, to its highest one."""
    levels = np.linspace(x.min(), x.max(), LEVELS + 1, dtype=np.float32)[1:]
    return levels[levels > x.min()]


def levels_reached(x: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How many of some even levels each value reaches: `np.searchsorted` on the right, several times as fast.

    Args:
        x: values, float32, any shape.
        levels: float32, ascending, as of `levels_of`.
    """
    step = float(levels[-1] - levels[0]) / max(len(levels) - 1, 1)
    if step < 16 * np.spacing(np.abs(levels).max()):  # rounded levels are not even
        return np.searchsorted(levels, x, side="right")
    bounds = np.r_[np.float32(-np.inf), levels, np.float32(np.inf)]
    codes = ((x - levels[0]) * np.float32(1 / step) + 1).clip(0, len(levels)).astype(np.intp)
    codes -= x < bounds[codes]  # a rounded quotient is wrong by one at most
    codes += x >= bounds[codes + 1]
    return codes


def best_threshold(
    pictures: np.ndarray, latents: np.ndarray, truth: np.ndarray, levels: np.ndarray, void: np.ndarray | None = None
) -> float:
    """The threshold with the highest mean J over frames; of equal ones the lowest.

    All thresholds are tried at once, by histograms of the pixels inside and outside the true mask.

    Args:
        pictures: a map at the video's size, float32 (latent frames, height, width).
        latents: the latent frame of each video frame, integers (frames,).
        truth: booleans (frames, height, width), without void pixels.
        levels: thresholds, ascending; at least one. A pixel is found if it is at or above the threshold.
        void: booleans (frames, height, width), pixels that do not count; None for none.
    """
    codes = levels_reached(pictures, levels)
    bins = len(levels) + 1

    def histograms(counted: np.ndarray) -> np.ndarray:
        """How often each code is in each frame, (frames, bins)."""
        rows = [np.bincount(codes[latent][mask], minlength=bins) for latent, mask in zip(latents, counted, strict=True)]
        return np.stack(rows)

    hits = histograms(truth)
    if void is None:
        found = np.stack([np.bincount(frame.ravel(), minlength=bins) for frame in codes])[latents]
    else:
        found = histograms(~void)
    found, hits = (np.cumsum(x[:, :0:-1], axis=1)[:, ::-1] for x in (found, hits))
    either = found + counts(truth)[:, None] - hits
    mean_j = np.where(either == 0, 1.0, hits / np.maximum(either, 1)).mean(axis=0)
    return float(levels[mean_j.argmax()])
