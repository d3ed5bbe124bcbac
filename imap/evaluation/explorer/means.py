"""Means over clips of scores and curves, after the mean over the words of a clip."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imap.evaluation.explorer.curves import from_onset, mean_curve, standardized
from imap.evaluation.explorer.entries import Entry
from imap.evaluation.tables import Score, Table, table

Curves = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Means:
    """Means over clips of the words of one kind.

    Attributes:
        table: of the scores.
        precision: by row, precision at RECALLS (3, 20): mean, lower and upper end.
        onset: by row, energy around the beginning of the motion (3, 2 * REACH + 1). Empty where no motion begins.
        moving: share of clips that move around that beginning, standardized like energies (2 * REACH + 1,).
    """

    table: Table
    precision: Curves
    onset: Curves
    moving: np.ndarray


def means_of(entries: Sequence[Entry], kind: str) -> Means:
    """Means over the clips that have words of a kind."""
    entries = [entry for entry in entries if entry.kind == kind]
    beginning = [entry for entry in entries if entry.moving is not None and entry.moving.any() and not entry.moving[0]]
    moving = [from_onset(standardized(entry.moving.astype(float)), entry.moving) for entry in beginning]
    scores = [
        Score("", entry.sample, entry.word, kind, row, metric, value)
        for entry in entries
        for row, values in entry.scores.items()
        for metric, value in values.items()
    ]
    return Means(
        table(scores, kind),
        _curves(entries, lambda entry: entry.precision),
        _curves(beginning, lambda entry: {row: from_onset(x, entry.moving) for row, x in entry.energy.items()}),
        mean_curve(moving)[0] if moving else np.array([]),
    )


def _curves(entries: Sequence[Entry], of: Callable[[Entry], Curves]) -> dict[str, np.ndarray]:
    """Mean curves by row. Curves of nan alone are left out."""
    clips: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        for row, curve in of(entry).items():
            if not np.isnan(curve).all():
                clips[row][entry.sample].append(curve)
    return {row: mean_curve([_known_mean(curves) for curves in x.values()]) for row, x in clips.items()}


def _known_mean(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of curves at every point, over those that are not nan there."""
    values = np.stack(curves)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
