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


def _cell(value: Interval | None, intervals: bool) -> str:
    if value is None or np.isnan(value[0]):
        return "-"
    mean, low, high = (f"{x:.2f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.2f}" for x in value)
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
