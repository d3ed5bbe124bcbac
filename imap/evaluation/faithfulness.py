"""How well a map agrees with the effect of its word: a score without ground truth (docs/method.md, 10.3)."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from imap.evaluation.scores import average_precision

TOP = 0.1  # share of cells, or of places, that count as the effect's
TOP_FRAMES = 0.3  # share of frames


def faithfulness(x: np.ndarray, effect: np.ndarray) -> dict[str, float]:
    """Agreement of a map with the effect of its word.

    Args:
        x: map (frames, height, width).
        effect: of the word, of the same shape.

    Returns:
        Spearman's rank correlation, and average precision against the top share of the effect: over all cells (`rank`,
        `ap`), over places after a mean over frames (`_space`), over frames after a mean over places (`_time`).
        NaN where a map is constant.
    """
    parts = {
        "": _scores(x, effect, TOP),
        "_space": _scores(x.mean(axis=0), effect.mean(axis=0), TOP),
        "_time": _scores(x.mean(axis=(1, 2)), effect.mean(axis=(1, 2)), TOP_FRAMES),
    }
    return {name + part: value for part, scores in parts.items() for name, value in scores.items()}


def faithfulness_by_text(
    arrays: Mapping[str, np.ndarray], effect: np.ndarray, texts: Sequence[str]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """`faithfulness` of every map, [text][key][score]. A score that is not defined is None.

    Args:
        arrays: maps (texts, frames, height, width) by key.
        effect: of the texts, of the same shape.
        texts: the words.
    """
    return {
        text: {key: _plain(faithfulness(rows[i], effect[i])) for key, rows in arrays.items()}
        for i, text in enumerate(texts)
    }


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if np.isnan(x) else round(x, 4) for name, x in scores.items()}


def _scores(x: np.ndarray, effect: np.ndarray, share: float) -> dict[str, float]:
    from scipy.stats import spearmanr  # its import takes a second, and most runs have no effect map

    x, effect = x.ravel(), effect.ravel()
    if np.ptp(x) == 0 or np.ptp(effect) == 0:
        return {"rank": float("nan"), "ap": float("nan")}
    top = np.zeros(len(effect), bool)
    top[np.argsort(-effect, kind="stable")[: max(1, round(share * len(effect)))]] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input: NaN says so
        rank = float(spearmanr(x, effect)[0])  # type: ignore[arg-type]  # a named tuple
    return {"rank": rank, "ap": average_precision(x, top)}
