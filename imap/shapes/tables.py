"""Records of scores as tables: means over clips with 95 % bootstrap intervals."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from imap.evaluation.scores import interval
from imap.shapes.scoring import Record

TITLES = {
    "noun": {"ap": "AP", "auc": "AUC", "iou": "best IoU", "own_other": "own/other AUC"},
    "verb": {"ap": "AP", "in_object": "in-object AUC", "correlation": "temporal corr.", "own_other": "own/other AUC"},
}
BASELINES = ("random", "uniform", "frame difference", "object in all frames")  # maps of no model
UNTRAINED = ", untrained"  # ends the rows of the model with random weights
Interval = tuple[float, float, float]
Summary = dict[str, dict[str, Interval]]  # [row][score]


def summary(records: Iterable[Record], kind: str, by: Callable[[Record], str] = lambda record: record.row) -> Summary:
    """Mean and 95 % interval over clips of each score; a clip's own value is the mean over its words and noises."""
    values: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in records:
        if record.kind == kind:
            for score, value in record.scores.items():
                if not np.isnan(value):
                    values[by(record)][score][record.clip].append(value)
    return {
        row: {score: interval([float(np.mean(x)) for x in clips.values()]) for score, clips in scores.items()}
        for row, scores in values.items()
    }


def markdown(found: Summary, kind: str, intervals: bool = True) -> str:
    """A summary as a Markdown table."""
    titles = TITLES[kind]
    lines = ["| map | " + " | ".join(titles.values()) + " |", "|---" * (len(titles) + 1) + "|"]
    for row, scores in found.items():
        cells = [_cell(scores.get(score), intervals) for score in titles]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gates(nouns: Summary, verbs: Summary) -> str:
    """What shipped weights are held to, as a Markdown table: the best map, and what it reaches."""
    asked = [
        ("nouns: AP of the best map", 0.9, _best(nouns, "ap")),
        ("nouns: AP of GramCol, either surrogate", 0.7, _best(nouns, "ap", "GramCol")),
        ("nouns: own/other AUC of the best map", 0.9, _best(nouns, "own_other")),
        ("verbs: in-object AUC, best of GramCol and IMAP", 0.7, _best(verbs, "in_object", "GramCol", "IMAP")),
        ("verbs: spatio-temporal AP of the best map", 0.4, _best(verbs, "ap")),
    ]
    lines = ["| gate | must reach | reaches | map |", "|---" * 4 + "|"]
    for gate, least, best in asked:
        if best is not None:
            value, row = best
            verdict = "" if value >= least else ", not met"
            lines.append(f"| {gate} | {_number(least)} | {_number(value)}{verdict} | {row} |")
    return "\n".join(lines)


def _best(found: Summary, score: str, *kinds: str) -> tuple[float, str] | None:
    """Highest value of the trained model's rows; kinds: what their names start with."""
    rows = [row for row in found if row not in BASELINES and not row.endswith(UNTRAINED)]
    return max(
        ((found[row][score][0], row) for row in rows if score in found[row] and row.startswith(kinds or "")),
        default=None,
    )


def _number(x: float) -> str:
    return f"{x:.2f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.2f}"


def _cell(value: Interval | None, intervals: bool) -> str:
    if value is None or np.isnan(value[0]):
        return "-"
    mean, low, high = map(_number, value)
    return f"{mean} [{low}, {high}]" if intervals else mean


def write_records(records: Sequence[Record], path: Path) -> None:
    """All records as CSV, one line per score."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["row", "clip", "kind", "word", "noise", "score", "value"])
        for record in records:
            for score, value in record.scores.items():
                head = (record.row, record.clip, record.kind, record.word, record.noise)
                rows.writerow([*head, score, f"{value:.6f}"])
