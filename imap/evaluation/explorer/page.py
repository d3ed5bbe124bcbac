"""The page of a run's scores: means, curves, and every word of every clip, worst first. It needs no server."""

import html
import itertools
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import replaced
from imap.evaluation.explorer.curves import REACH, RECALLS
from imap.evaluation.explorer.entries import Entry
from imap.evaluation.explorer.films import write_films
from imap.evaluation.explorer.means import Curves, Means
from imap.evaluation.explorer.plots import FREE
from imap.evaluation.tables import Table
from imap.evaluation.word_scores import METRICS
from imap.view.report import page_json, page_part

PAGE = Path(__file__).with_name("page")
FILMS = "scores/films"  # folder beside the page: a picture per sample


def write_page(path: Path, title: str, entries: Sequence[Entry], means: Mapping[str, Means]) -> Path:
    """Write the page. An earlier page stays until the new one is complete. The films are in files beside it.

    Args:
        path: of the page, in the run's folder.
        title: of the page.
        entries: words of clips.
        means: over clips, by kind of word.

    Returns:
        The path.
    """
    parts = {
        "title": html.escape(title),
        "style": page_part("style.css") + (PAGE / "scores.css").read_text(encoding="utf-8"),
        "shared": page_json(_shared(entries, means)),
        "script": page_part("elements.js") + (PAGE / "scores.js").read_text(encoding="utf-8"),
    }
    for sample, words in itertools.groupby(entries, key=lambda entry: entry.sample):
        films = [one for entry in words for one in (entry.truth, *entry.films.values())]
        write_films(path.parent / FILMS / f"{sample}.png", films)
    page = string.Template((PAGE / "scores.html").read_text(encoding="utf-8"))
    with replaced(path) as part:
        part.write_text(page.substitute(parts), encoding="utf-8")
    return path


def _shared(entries: Sequence[Entry], means: Mapping[str, Means]) -> dict[str, Any]:
    metrics = list(dict.fromkeys(metric for one in means.values() for metric in one.table.metrics))
    onset = means["motion"].onset if "motion" in means else {}
    moving = means["motion"].moving if "motion" in means else []
    return {
        "kinds": list(means),
        "rows": list(dict.fromkeys(row for one in means.values() for row in one.table.rows)),
        "free": FREE,
        "metrics": metrics,
        "definitions": METRICS,
        "recalls": _numbers(RECALLS),
        "reach": REACH,
        "means": {kind: _cells(one.table) for kind, one in means.items()},
        "precision": {kind: _curves(one.precision) for kind, one in means.items()},
        "onset": _curves(onset),
        "onset_moving": _numbers(moving),
        "folder": FILMS,
        "entries": _entries(entries, metrics),
    }


def _cells(one: Table) -> dict[str, dict[str, list[float | None]]]:
    """Mean, lower end, upper end and number of clips by metric and row."""
    found = {metric: {row: one.cells.get((row, metric)) for row in one.rows} for metric in one.metrics}
    return {
        metric: {row: [*_numbers(cell[0]), cell[1]] for row, cell in rows.items() if cell}
        for metric, rows in found.items()
    }


def _curves(curves: Curves) -> dict[str, list[list[float | None]]]:
    return {row: [_numbers(values) for values in curve] for row, curve in curves.items()}


def _entry(entry: Entry, metrics: Sequence[str], place: int) -> dict[str, Any]:
    """A word of a clip. place: of its films in the picture of the sample."""
    return {
        "sample": entry.sample,
        "caption": entry.caption,
        "word": entry.word,
        "kind": entry.kind,
        "scores": {row: _numbers(x.get(metric, np.nan) for metric in metrics) for row, x in entry.scores.items()},
        "precision": {row: _numbers(x) for row, x in entry.precision.items()},
        "energy": {row: _numbers(x) for row, x in entry.energy.items()},
        "moving": None if entry.moving is None else entry.moving.astype(int).tolist(),
        "films": {row: place + i for i, row in enumerate(("", *entry.films))},  # "": the truth
        "film": entry.truth.shape,
    }


def _entries(entries: Sequence[Entry], metrics: Sequence[str]) -> list[dict[str, Any]]:
    found, places = [], dict.fromkeys((entry.sample for entry in entries), 0)
    for entry in entries:
        found.append(_entry(entry, metrics, places[entry.sample]))
        places[entry.sample] += 1 + len(entry.films)
    return found


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Numbers of three digits for JSON; null for nan."""
    return [None if np.isnan(x) else round(float(x), 3) for x in values]
