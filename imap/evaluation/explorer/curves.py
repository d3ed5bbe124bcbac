"""Curves of one map of one word, and their means over clips with 95 % bootstrap intervals."""

from collections.abc import Sequence

import numpy as np

RECALLS = np.linspace(0.05, 1, 20)  # at which precision is read
REACH = 6  # latent frames before and after a motion begins

Array = np.ndarray


def precision_at_recall(x: Array, truth: Array) -> Array:
    """Precision at RECALLS, (20,): of the highest threshold that reaches each recall. nan without a true cell.

    Args:
        x: values, any shape.
        truth: booleans of the same shape.
    """
    if not truth.any():
        return np.full(len(RECALLS), np.nan)
    order = np.argsort(-x, axis=None)
    values, hits = x.ravel()[order], np.cumsum(truth.ravel()[order])
    last = np.flatnonzero(np.r_[values[1:] != values[:-1], True])  # equal values are found together
    hits = hits[last]
    reached = np.searchsorted(hits, RECALLS * hits[-1] - 1e-9)
    return hits[reached] / (last[reached] + 1)


def standardized(energy: Array) -> Array:
    """Energy of frames less its mean, over its standard deviation; zeros where it is constant. nan stays nan."""
    spread = np.nanstd(energy)
    return (energy - np.nanmean(energy)) / spread if spread > 0 else np.where(np.isnan(energy), np.nan, 0.0)


def from_onset(values: Array, moving: Array) -> Array:
    """Values of the frames around the first moving one.

    Args:
        values: (frames,).
        moving: booleans (frames,).

    Returns:
        (2 * REACH + 1,): nan beyond the video. All nan if the first frame moves, or none: no motion begins.
    """
    aligned = np.full(2 * REACH + 1, np.nan)
    onset = int(moving.argmax())
    if onset:
        places = np.arange(len(values)) - onset + REACH
        inside = (places >= 0) & (places < len(aligned))
        aligned[places[inside]] = values[inside]
    return aligned


def mean_curve(curves: Sequence[Array], draws: int = 2000, seed: int = 0) -> Array:
    """Mean over clips with its interval at every point, (3, points): mean, lower end, upper end.

    Values of nan are left out. Points that less than half of the clips have are nan.

    Args:
        curves: one per clip, each (points,).
        draws: bootstrap samples.
        seed: of the bootstrap.
    """
    values = np.stack(curves)
    known = ~np.isnan(values)
    clips, filled = len(values), np.where(known, values, 0)
    weights = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=draws)
    with np.errstate(invalid="ignore"):
        means = (weights @ filled) / (weights @ known)
        low, high = np.nanpercentile(np.where(known.any(axis=0), means, 0), [2.5, 97.5], axis=0)
        mean = filled.sum(axis=0) / known.sum(axis=0)
    return np.where(known.mean(axis=0) >= 0.5, np.stack([mean, low, high]), np.nan)
