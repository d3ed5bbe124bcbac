"""Means over clips of scores and curves, after the mean over the words of a clip."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
        moving: mean over clips of the moving flags around that beginning, standardized like energies
            (2 * REACH + 1,). Empty where no motion begins.
    """

    table: Table
    precision: Curves
    onset: Curves
    moving: np.ndarray


def means_of(entries: Sequence[Entry], kind: str) -> Means:
    """Means over the clips that have words of a kind."""
    entries = [entry for entry in entries if entry.kind == kind]
    begins = [(entry, entry.moving) for entry in entries if entry.moving is not None and entry.moving.argmax()]
    moving = _curves(
        (entry.sample, {"truth": from_onset(standardized(flags.astype(float)), flags)}) for entry, flags in begins
    )
    scores = [
        Score("", entry.sample, entry.word, kind, row, metric, value)
        for entry in entries
        for row, values in entry.scores.items()
        for metric, value in values.items()
    ]
    return Means(
        table(scores, kind),
        _curves((entry.sample, entry.precision) for entry in entries),
        _curves(
            (entry.sample, {row: from_onset(x, flags) for row, x in entry.energy.items()}) for entry, flags in begins
        ),
        moving["truth"][0] if moving else np.array([]),
    )


def _curves(words: Iterable[tuple[str, Curves]]) -> dict[str, np.ndarray]:
    """Mean curves by row, of clips and the curves of one of their words. Curves of nan alone are left out."""
    clips: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for clip, curves in words:
        for row, curve in curves.items():
            if not np.isnan(curve).all():
                clips[row][clip].append(curve)
    return {row: mean_curve([_known_mean(curves) for curves in x.values()]) for row, x in clips.items()}


def _known_mean(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of curves at every point, over those that are not nan there."""
    values = np.stack(curves)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)
