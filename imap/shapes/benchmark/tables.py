"""Tables of scores: means over clips with 95 % bootstrap intervals."""

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
UNTRAINED = ", untrained"  # suffix of the rows of a model with random weights
BASELINES = ("cross attention", "text attention", "ConceptAttention")  # first words of attention baselines
MODEL_ROWS = (*BASELINES, "GramCol", "IMAP")  # first words of a model's rows of published maps
OURS = ("whole-video column", "effect")
# gates of shipped weights: title, kind of word, score, rows, least value
GATES = (
    ("nouns: AP of the best map", "noun", "ap", MODEL_ROWS, 0.9),
    ("nouns: AP of GramCol, either surrogate", "noun", "ap", ("GramCol",), 0.7),
    ("nouns: own/other AUC of the best map", "noun", "own_other", MODEL_ROWS, 0.9),
    ("verbs: in-object AUC, best of GramCol and IMAP", "verb", "in_object", ("GramCol", "IMAP"), 0.7),
    ("verbs: spatio-temporal AP of the best map", "verb", "ap", MODEL_ROWS, 0.4),
)
Interval = tuple[float, float, float]
Summary = dict[str, dict[str, Interval]]  # [row][score]


def by_clip(records: Iterable[Record], kind: str) -> dict[str, dict[str, dict[int, float]]]:
    """Mean of each score over a clip's words and noises, as [row][score][clip]."""
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
    """Mean over clips and 95 % interval of each score, for one kind of word."""
    return {
        row: {score: interval(list(clips.values())) for score, clips in scores.items()}
        for row, scores in by_clip(records, kind).items()
    }


def difference(records: Iterable[Record], kind: str, score: str, row: str, other: str) -> Interval:
    """Mean difference between two rows and its 95 % interval, over the clips that both rows have.

    Args:
        records: Records of a benchmark.
        kind: Kind of word.
        score: Name of the score.
        row: Row with the first value.
        other: Row whose value is subtracted.
    """
    values = by_clip(records, kind)
    first, second = (values.get(name, {}).get(score, {}) for name in (row, other))
    return interval([first[clip] - second[clip] for clip in first.keys() & second.keys()])


def markdown(scored: Summary, kind: str) -> str:
    """Markdown table of a summary."""
    titles = TITLES[kind]
    lines = ["| map | " + " | ".join(titles.values()) + " |", "|---" * (len(titles) + 1) + "|"]
    for row, scores in scored.items():
        cells = [_cell(scores.get(score)) for score in titles]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def counts(records: Sequence[Record]) -> str:
    """Markdown table of sampled videos: how many count, and in how many of these all words are right."""
    lines = ["| of sampled videos | share | number |", "|---|---|---|"]
    for row, score in (("video", "counts"), ("during: all words right", "right"), ("after: all words right", "right")):
        values = [record.scores[score] for record in records if record.row == row]
        title = "follow their caption" if row == "video" else row
        share = _number(float(np.mean(values))) if values else "-"
        lines.append(f"| {title} | {share} | {int(sum(values))} of {len(values)} |")
    return "\n".join(lines)


def gates(records: Sequence[Record]) -> str:
    """Markdown table of the gates, with the best map's value.

    After GATES come gates of differences between rows, clip by clip, with 95 % intervals.
    """
    scored = {kind: summary(records, kind) for kind in TITLES}
    lines = ["| gate | must reach | reaches | map |", "|---" * 4 + "|"]

    def add(title: str, required: str, value: str, row: str, met: bool) -> None:
        lines.append(f"| {title} | {required} | {value}{'' if met else ', not met'} | {row} |")

    for title, kind, score, rows, least in GATES:
        value, row = _best(scored[kind], score, rows)
        add(title, _number(least, 3), _number(value, 3), row, value >= least)
    for kind in TITLES:
        for row in OURS:
            _, other = _best(scored[kind], "ap", BASELINES)
            if row in scored[kind] and other in scored[kind]:
                gain = difference(records, kind, "ap", row, other)
                add(
                    f"{kind}s: AP less the best baseline's ({other})",
                    "above 0, beyond chance",
                    _cell(gain),
                    row,
                    gain[1] > 0,
                )
    row = _best(scored["verb"], "in_object", ("GramCol", "IMAP"))[1]
    if row in scored["verb"]:
        gain = difference(records, "verb", "in_object", row, "cross attention")
        above_chance = scored["verb"][row]["in_object"][1] > 0.5  # two maps without knowledge may also differ
        is_met = gain[1] > 0 and above_chance
        add("verbs: the same less cross attention's", "above 0, beyond chance", _cell(gain), row, is_met)
    for row in scored["noun"]:
        if row.startswith(MODEL_ROWS) and row.endswith(UNTRAINED):
            gain = difference(records, "noun", "ap", row, "random")
            add("nouns: AP of untrained weights less random", "within .050", _cell(gain), row, abs(gain[0]) <= 0.05)
    return "\n".join(lines)


def _best(scored: Summary, score: str, rows: tuple[str, ...]) -> tuple[float, str]:
    """Highest value among the trained model's rows whose names start with one of `rows`, and its row."""
    trained = [row for row in scored if row.startswith(rows) and not row.endswith(UNTRAINED) and score in scored[row]]
    return max(((scored[row][score][0], row) for row in trained), default=(float("nan"), "-"))


def _number(x: float, digits: int = 2) -> str:
    x = round(x, digits) + 0.0  # no -.00
    return f"{x:.{digits}f}".replace("0.", ".", 1) if abs(x) < 1 else f"{x:.{digits}f}"


def _cell(value: Interval | None) -> str:
    if value is None or np.isnan(value[0]):
        return "-"
    mean, low, high = map(_number, value)
    return f"{mean} [{low}, {high}]"


def write_records(records: Sequence[Record], path: Path) -> None:
    """Write all records as CSV, one line per score."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["row", "clip", "kind", "word", "noise", "score", "value"])
        for record in records:
            for score, value in record.scores.items():
                head = (record.row, record.clip, record.kind, record.word, record.noise)
                rows.writerow([*head, score, f"{value:.6f}"])
