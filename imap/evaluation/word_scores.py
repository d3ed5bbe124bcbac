"""All scores of one map of one word.

Rankings are of the cells of the map, in latent frames. J and F are of the video's pixels, in every video frame: the map
is enlarged as in the pictures, and a pixel is found if it reaches the threshold (imap.view.masks has the same rule).
"""

import numpy as np

from imap.evaluation.bits import packed
from imap.evaluation.cells import WordTruth
from imap.evaluation.faithfulness import faithfulness
from imap.evaluation.long_form import mean_of_known
from imap.evaluation.ranking import rankings
from imap.evaluation.regions import Outline, best_threshold, boundary_f, levels_of, region_j
from imap.evaluation.scores import (
    auc,
    frame_energy,
    pointing_game,
    relevance_mass,
    temporal_auc,
    temporal_correlation,
)
from imap.view.threshold import otsu
from imap.view.upsampling import enlarge

VERSION = 2  # of the metrics: a higher one makes earlier results count as old
WHERE = {  # of every word
    "ap": "average precision of the cells of all frames together; of a motion word, while it moves",
    "auc": "area under the ROC curve of the cells of all frames together",
    "ap_frame": "average precision of each frame that has the object, mean over frames",
    "auc_frame": "area under the ROC curve of each frame that has the object, mean over frames",
    "mass": "share of the map's mass on true cells, after its lowest value is set to 0",
    "pointing": "share of the frames that have the object in which the highest cell is on it, or near it",
}
REGIONS = {  # of every word
    f"{name}_{rule}": f"{what}, {of}"
    for rule, of in {
        "best": "at the threshold with the best J of this video",
        "mean": "at the map's mean",
        "otsu": "at Otsu's threshold",
    }.items()
    for name, what in {
        "j": "J: intersection over union of pixels, mean over frames",
        "f": "F: F1 of boundary pixels within 0.8 % of the diagonal, mean over frames",
        "jf": "J&F: mean of the two",
    }.items()
}
WHEN = {  # of motion words that have the time of their motion
    "in_object_auc": "chance that a cell of the mover is higher while it moves than while it does not",
    "temporal_auc": "chance that the map's mean is higher in a moving frame than in a still one",
    "temporal_correlation": "correlation of the map's mean per frame with the moving frames",
    "specificity": "chance that a cell of the mover is higher than one of a still thing of its noun, while it moves",
}
AGREEMENT = {  # of samples with an effect map
    f"effect_{name}{part}": f"{what}, {where}"
    for part, where in {"": "all cells", "_space": "means over frames", "_time": "means of frames"}.items()
    for name, what in {"rank": "rank correlation with the effect map", "ap": "AP of the effect map's top"}.items()
}
METRICS = {**WHERE, **REGIONS, **WHEN, **AGREEMENT}  # name: its definition in one line


def word_scores(x: np.ndarray, truth: WordTruth, effect: np.ndarray | None = None) -> dict[str, float]:
    """Every score of a map, by names of METRICS. Those that are not defined are nan.

    A word that is true in no cell has no score of WHERE.

    Args:
        x: the map, float32 (latent frames, rows, columns), all finite.
        truth: of its word, on the same grid.
        effect: effect map of the word, of the same shape, if it was read.
    """
    scores = {**where_scores(x, truth), **region_scores(x, truth), **when_scores(x, truth)}
    if effect is not None:
        scores |= {f"effect_{name}": value for name, value in faithfulness(x, effect).items()}
    return scores


def where_scores(x: np.ndarray, truth: WordTruth) -> dict[str, float]:
    """Scores of WHERE. Unknown cells do not count."""
    if not truth.own.any():
        return dict.fromkeys(WHERE, float("nan"))
    pooled = rankings(x[truth.known][None], truth.own[truth.known][None])
    by_frame = rankings(*(array.reshape(len(x), -1) for array in (x, truth.own, truth.known)))
    ap, area, ap_frame, area_frame = (mean_of_known(values) for values in (*pooled, *by_frame))
    mass = relevance_mass(x, truth.own, truth.known)
    return dict(
        zip(WHERE, (ap, area, ap_frame, area_frame, mass, pointing_game(x, truth.own, truth.known)), strict=True)
    )


def region_scores(x: np.ndarray, truth: WordTruth) -> dict[str, float]:
    """Scores of REGIONS. A constant map finds no pixel.

    A motion that does not happen has none. A word whose things are in no frame has those at the mean and at Otsu's
    threshold: 1 if nothing is found. Its best threshold would always find nothing.
    """
    if not truth.masks.any() and not truth.absent:
        return dict.fromkeys(REGIONS, float("nan"))
    height, width = truth.masks.shape[1:]
    pictures = np.empty((len(x), height, width), np.float32)
    for latent, frame in enumerate(x):
        pictures[latent] = enlarge(frame, height, width)
    if np.ptp(x) == 0:
        thresholds = dict.fromkeys(("best", "mean", "otsu"), float("inf"))
    else:
        best = best_threshold(pictures, truth.latents, truth.masks, levels_of(x), truth.void)
        thresholds = {"best": best, "mean": float(x.mean(dtype=np.float64)), "otsu": otsu(x)}
    found = np.stack([packed(reached(pictures, value, float(x.min()))) for value in thresholds.values()])
    scores = {}
    for rule, *values in zip(thresholds, *_j_and_f(found, truth), strict=True):
        j, f = (float(one.mean()) for one in values)
        scores |= {f"j_{rule}": j, f"f_{rule}": f, f"jf_{rule}": (j + f) / 2}
    return {**scores, **dict.fromkeys(("j_best", "f_best", "jf_best"), float("nan"))} if truth.absent else scores


def reached(pictures: np.ndarray, threshold: float, lowest: float) -> np.ndarray:
    """Pixels at or above a threshold. Those at the map's lowest value never are, as in `imap.view.masks`."""
    value = np.float32(threshold)  # rounded as the map is, or a threshold just above the lowest value finds all
    return pictures >= value if value > lowest else pictures > np.float32(lowest)


def when_scores(x: np.ndarray, truth: WordTruth) -> dict[str, float]:
    """Scores of WHEN; none for a word without the time of its motion."""
    if truth.moving is None or truth.still is None or truth.resting is None:
        return {}
    energy = frame_energy(x, truth.known)
    seen = ~np.isnan(energy)
    return {
        "in_object_auc": auc(x, truth.own, truth.still),
        "temporal_auc": temporal_auc(energy, truth.moving),
        "temporal_correlation": temporal_correlation(energy[seen, None, None], truth.moving[seen]),
        "specificity": auc(x, truth.own, truth.resting),
    }


def _j_and_f(found: np.ndarray, truth: WordTruth) -> tuple[np.ndarray, np.ndarray]:
    """J and F of masks that are bits (rules, latent frames, height, integers), each (rules, video frames)."""
    width = truth.masks.shape[-1]
    if truth.not_void is None:  # an outline per latent frame, as its video frames share it
        outline, found = Outline.of_bits(found, width)[truth.latents], found[:, truth.latents]
    else:
        found = found[:, truth.latents] & truth.not_void
        outline = Outline.of_bits(found, width)
    return region_j(found, truth.bits), boundary_f(outline, truth.outline)
