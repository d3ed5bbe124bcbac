"""Scores of a map (frames, height, width) against true cells, and against the frames in which they move.

Truth is a boolean array of the map's shape. A score that a clip does not define is nan.
"""

from collections.abc import Sequence

import numpy as np

from imap.evaluation.ranking import rankings
from imap.evaluation.regions import dilated

POINTING = 15 / 625  # of the diagonal: the tolerance of the original pointing game, on pictures of 500x375 pixels

Array = np.ndarray


def average_precision(x: Array, truth: Array) -> float:
    """Area under the precision-recall curve, summed by steps. A constant map scores the share of true cells.

    nan without a true cell.

    Args:
        x: Map, any shape.
        truth: Booleans of the same shape.
    """
    return float(rankings(x.reshape(1, -1), truth.reshape(1, -1))[0][0])


def auc(x: Array, positive: Array, negative: Array) -> float:
    """Area under the ROC curve: the chance that a positive cell has a higher value than a negative one.

    Args:
        x: Map, any shape.
        positive: Booleans of the same shape, the cells that should be high.
        negative: Booleans of the same shape, the cells that should be low. Cells in neither do not count.

    Returns:
        A number in [0, 1]; ties count half.
    """
    high, low = x[positive], np.sort(x[negative])
    if not high.size or not low.size:
        return float("nan")
    twice = sum(int(np.searchsorted(low, high, side).sum()) for side in ("left", "right"))  # wins, and with ties
    return twice / (2 * high.size * low.size)


def best_iou(x: Array, truth: Array) -> float:
    """Intersection over union of true cells and cells above a threshold, at the best threshold.

    Args:
        x: Map, any shape.
        truth: Booleans of the same shape.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-x.ravel(), kind="stable")
    values, hits = x.ravel()[order], np.cumsum(truth.ravel()[order])
    last_of_value = np.r_[values[1:] != values[:-1], True]
    union = np.arange(1, len(values) + 1) + truth.sum() - hits
    return float((hits / union)[last_of_value].max())


def in_object_auc(x: Array, place: Array, moving: Array) -> float:
    """Timing inside the object: AUC of its cells in moving frames against its cells in still frames.

    Args:
        x: Map (frames, height, width).
        place: Booleans (frames, height, width), the cells of the object.
        moving: Booleans (frames,).
    """
    frames = np.broadcast_to(moving[:, None, None], place.shape)
    return auc(x, place & frames, place & ~frames)


def temporal_correlation(x: Array, moving: Array) -> float:
    """Timing over the whole picture: Pearson correlation of the map's frame means with the moving flags.

    Args:
        x: Map (frames, height, width).
        moving: Booleans (frames,).
    """
    energy = x.mean(axis=(1, 2))
    if moving.all() or not moving.any() or np.ptp(energy) == 0:
        return float("nan")
    return float(np.corrcoef(energy, moving)[0, 1])


def frame_energy(x: Array, known: Array | None = None) -> Array:
    """Mean of each frame over its known cells, (frames,); nan for a frame without any.

    Args:
        x: Map (frames, height, width).
        known: Booleans of the same shape; None for all cells.
    """
    if known is None:
        return x.mean(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.where(known, x, 0).sum(axis=(1, 2)) / known.sum(axis=(1, 2))


def temporal_auc(energy: Array, moving: Array) -> float:
    """When: the chance that a moving frame has more energy than a still one. nan if all frames move, or none.

    Args:
        energy: Values (frames,), such as `frame_energy`. Frames of nan do not count.
        moving: Booleans (frames,).
    """
    known = ~np.isnan(energy)
    return auc(energy, moving & known, ~moving & known)


def relevance_mass(x: Array, truth: Array, known: Array | None = None) -> float:
    """Share of the map's mass on true cells (attention alignment). nan without a true cell.

    The map is shifted so that its lowest known value is 0: maps are standardized, so their zero has no meaning. A
    constant map has no mass after the shift. It scores the share of true cells, as mass that is spread evenly would.

    Args:
        x: Map, any shape.
        truth: Booleans of the same shape.
        known: Booleans of the same shape, the cells that count; None for all.
    """
    inside = truth if known is None else truth & known
    values = x.ravel() if known is None else x[known]
    if not inside.any():
        return float("nan")
    total = (values.astype(np.float64) - values.min()).sum()
    if total == 0:
        return float(inside.sum() / values.size)
    return float((x[inside].astype(np.float64) - values.min()).sum() / total)


def pointing_game(x: Array, truth: Array, known: Array | None = None, tolerance: float = POINTING) -> float:
    """Share of the frames with true cells in which the highest cell is a true one, or near one.

    Zhang et al. 2016, "Top-down neural attention by excitation backprop": 15 pixels are near. Here the distance grows
    with the frame. Among equal highest cells one is chosen by chance: the share of them that hits counts. So a constant
    frame scores the share of cells that are near. nan if no frame has a true cell.

    Args:
        x: Map (frames, height, width).
        truth: Booleans of the same shape.
        known: Booleans of the same shape, the cells that count; None for all.
        tolerance: distance of centres of cells, as a share of the frame's diagonal.
    """
    known = np.ones(x.shape, bool) if known is None else known
    near = dilated(truth & known, tolerance * float(np.hypot(*x.shape[1:]))) & known
    highest = np.where(known, x, -np.inf).max(axis=(1, 2), keepdims=True)
    peaks = known & (x == highest)
    has_object = (truth & known).any(axis=(1, 2))
    if not has_object.any():
        return float("nan")
    hits = (peaks & near).sum(axis=(1, 2))[has_object] / peaks.sum(axis=(1, 2))[has_object]
    return float(hits.mean())


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean over clips with its 95 % bootstrap interval; nan values are left out.

    Args:
        values: One value per clip.
        draws: Bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Mean, lower end, upper end. A single value has no interval: its ends are nan.
    """
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    if len(known) == 1:
        return float(known[0]), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = known[rng.integers(len(known), size=(draws, len(known)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(known.mean()), float(low), float(high)
