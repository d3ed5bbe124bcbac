"""Scores of a map (frames, height, width) against true cells, and against the frames in which they move.

Truth is a boolean array of the map's shape. A score that a clip does not define is nan.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

Array = np.ndarray


def average_precision(x: Array, truth: Array) -> float:
    """Area under the precision-recall curve, summed by steps. A constant map scores the share of true cells.

    Args:
        x: Map, any shape.
        truth: Booleans of the same shape.
    """
    return float(average_precision_score(truth.ravel(), x.ravel())) if truth.any() else float("nan")


def auc(x: Array, positive: Array, negative: Array) -> float:
    """Area under the ROC curve: the chance that a positive cell has a higher value than a negative one.

    Args:
        x: Map, any shape.
        positive: Booleans of the same shape, the cells that should be high.
        negative: Booleans of the same shape, the cells that should be low. Cells in neither do not count.

    Returns:
        A number in [0, 1]; ties count half.
    """
    if not positive.any() or not negative.any():
        return float("nan")
    labels = np.r_[np.ones(int(positive.sum())), np.zeros(int(negative.sum()))]
    return float(roc_auc_score(labels, np.r_[x[positive], x[negative]]))


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


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean over clips with its 95 % bootstrap interval; nan values are left out.

    Args:
        values: One value per clip.
        draws: Bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Mean, lower end, upper end.
    """
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = known[rng.integers(len(known), size=(draws, len(known)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(known.mean()), float(low), float(high)
