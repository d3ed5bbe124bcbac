"""How well a map (frames, height, width) finds the cells that are true, and the frames in which they move.

Truth is boolean, of the map's shape; nan stands for a score that a clip does not define.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

Array = np.ndarray


def average_precision(x: Array, truth: Array) -> float:
    """Area under precision over recall, by steps: a map without knowledge scores the share of true cells."""
    return float(average_precision_score(truth.ravel(), x.ravel())) if truth.any() else float("nan")


def auc(x: Array, positive: Array, negative: Array) -> float:
    """Chance that a cell of `positive` is above one of `negative`, ties counted half."""
    if not positive.any() or not negative.any():
        return float("nan")
    labels = np.r_[np.ones(int(positive.sum())), np.zeros(int(negative.sum()))]
    return float(roc_auc_score(labels, np.r_[x[positive], x[negative]]))


def best_iou(x: Array, truth: Array) -> float:
    """Intersection over union of the true cells and those above a threshold, at the threshold that suits best."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-x.ravel(), kind="stable")
    values, hits = x.ravel()[order], np.cumsum(truth.ravel()[order])
    last_of_value = np.r_[values[1:] != values[:-1], True]
    union = np.arange(1, len(values) + 1) + truth.sum() - hits
    return float((hits / union)[last_of_value].max())


def in_object_auc(x: Array, place: Array, moving: Array) -> float:
    """When, inside the object: AUC of its cells (place) in moving frames against its cells in still ones."""
    frames = np.broadcast_to(moving[:, None, None], place.shape)
    return auc(x, place & frames, place & ~frames)


def temporal_correlation(x: Array, moving: Array) -> float:
    """When, over the whole picture: Pearson correlation of the map's frame means with the moving flags."""
    energy = x.mean(axis=(1, 2))
    if moving.all() or not moving.any() or np.ptp(energy) == 0:
        return float("nan")
    return float(np.corrcoef(energy, moving)[0, 1])


def interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean over clips, and its 95 % bootstrap interval; nan are left out."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if not len(known):
        return (float("nan"),) * 3
    rng = np.random.default_rng(seed)
    means = known[rng.integers(len(known), size=(draws, len(known)))].mean(axis=1)
    return (float(known.mean()), *(float(x) for x in np.percentile(means, [2.5, 97.5])))
