"""Records of scores as tables: means over clips with 95 % bootstrap intervals."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from imap.evaluation.scores import interval
from imap.shapes.benchmark.scoring import Record

TITLES = {
    "noun": {
        "ap": "AP",
        "auc": "AUC",
        "iou": "best IoU",
        "own_other": "own/other AUC",
        "on_thing": "surrogate on it",
    },
    "verb": {
        "ap": "AP",
        "in_object": "in-object AUC",
        "correlation": "temporal corr.",
        "own_other": "own/other AUC",
        "on_thing": "surrogate on it",
    },
}
UNTRAINED = ", untrained"  # ends the rows of the model with random weights
OWN = ("cross attention", "ConceptAttention", "GramCol", "IMAP")  # how the names of a model's rows start
# what shipped weights are held to: kind, score, whose maps, least value
GATES = (
    ("nouns: AP of the best map", "noun", "ap", OWN, 0.9),
    ("nouns: AP of GramCol, either surrogate", "noun", "ap", ("GramCol",), 0.7),
    ("nouns: own/other AUC of the best map", "noun", "own_other", OWN, 0.9),
    ("verbs: in-object AUC, best of GramCol and IMAP", "verb", "in_object", ("GramCol", "IMAP"), 0.7),
    ("verbs: spatio-temporal AP of the best map", "verb", "ap", OWN, 0.4),
)
Interval = tuple[float, float, float]
Summary = dict[str, dict[str, Interval]]  # [row][score]


def by_clip(records: Iterable[Record], kind: str) -> dict[str, dict[str, dict[int, float]]]:
    """[row][score][clip]: the mean over the clip's words and noises."""
    values: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in records:
        if record.kind == kind:
            for score, value in record.scores.items():
                if not np.isnan(value):
                    values[record.row][score][record.clip].append(value)
    return {
        row: {score: {clip: float(np.mean(x)) for clip, x in clips.items()} for score, clips in scores.items()}
        for row, scores in values.items()
    }


def summary(records: Iterable[Record], kind: str) -> Summary:
    """Mean and 95 % interval over clips of each score."""
    return {
        row: {score: interval(list(clips.values())) for score, clips in scores.items()}
        for row, scores in by_clip(records, kind).items()
    }


def difference(records: Iterable[Record], kind: str, score: str, row: str, other: str) -> Interval:
    """Mean and 95 % interval of how much a row has more than another on the clips that both were scored on."""
    found = by_clip(records, kind)
    own, less = (found.get(name, {}).get(score, {}) for name in (row, other))
    return interval([own[clip] - less[clip] for clip in own.keys() & less.keys()])


def markdown(found: Summary, kind: str) -> str:
    """A summary as a Markdown table."""
    titles = TITLES[kind]
    lines = ["| map | " + " | ".join(titles.values()) + " |", "|---" * (len(titles) + 1) + "|"]
    for row, scores in found.items():
        cells = [_cell(scores.get(score)) for score in titles]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gates(records: Sequence[Record]) -> str:
    """GATES as a Markdown table, what the best map of each reaches; and two of differences between rows, clip by clip,
    with their 95 % intervals."""
    found = {kind: summary(records, kind) for kind in TITLES}
    lines = ["| gate | must reach | reaches | map |", "|---" * 4 + "|"]

    def add(title: str, asked: str, value: str, row: str, met: bool) -> None:
        lines.append(f"| {title} | {asked} | {value}{'' if met else ', not met'} | {row} |")

    for title, kind, score, rows, least in GATES:
        value, row = _best(found[kind], score, rows)
        add(title, _number(least, 3), _number(value, 3), row, value >= least)
    row = _best(found["verb"], "in_object", ("GramCol", "IMAP"))[1]
    if row in found["verb"]:
        more = difference(records, "verb", "in_object", row, "cross attention")
        knows = found["verb"][row]["in_object"][1] > 0.5  # two maps that know nothing may differ too
        add("verbs: the same less cross attention's", "above 0, beyond chance", _cell(more), row, more[1] > 0 and knows)
    for row in found["noun"]:
        if row.startswith(OWN) and row.endswith(UNTRAINED):
            more = difference(records, "noun", "ap", row, "random")
            add("nouns: AP of untrained weights less random", "within .050", _cell(more), row, abs(more[0]) <= 0.05)
    return "\n".join(lines)


def _best(found: Summary, score: str, rows: tuple[str, ...]) -> tuple[float, str]:
    """Highest value of the trained model's rows whose names start with one of `rows`, and the row."""
    own = [row for row in found if row.startswith(rows) and not row.endswith(UNTRAINED) and score in found[row]]
    return max(((found[row][score][0], row) for row in own), default=(float("nan"), "-"))


def _number(x: float, digits: int = 2) -> str:
    x = round(x, digits) + 0.0  # no -.00
    return f"{x:.{digits}f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.{digits}f}"


def _cell(value: Interval | None) -> str:
    if value is None or np.isnan(value[0]):
        return "-"
    mean, low, high = map(_number, value)
    return f"{mean} [{low}, {high}]"


def write_records(records: Sequence[Record], path: Path) -> None:
    """All records as CSV, one line per score."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["row", "clip", "kind", "word", "noise", "score", "value"])
        for record in records:
            for score, value in record.scores.items():
                head = (record.row, record.clip, record.kind, record.word, record.noise)
                rows.writerow([*head, score, f"{value:.6f}"])
