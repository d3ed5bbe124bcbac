"""Tables of scores: means over clips with 95 % bootstrap intervals, and paired differences between maps."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from imap.errors import ImapError
from imap.evaluation.baselines import BASELINES, SHUFFLED
from imap.evaluation.long_form import COLUMNS
from imap.evaluation.scores import interval
from imap.methods.registry import AFTER, AFTER_LABEL, CHOSEN, RANDOM_HEADS, labels
from imap.view.sample import run_names

FILES = ("scores.csv", "judge.csv", "segment.csv")  # of scores in a run's folder
EXPECTED = (
    f"the output_dir of a scored run, or one of its files {', '.join(FILES)}; "
    "imap score run, judge and segment write them"
)
PUBLISHED = "published"  # starts the names of rows that the paper reports

Interval = tuple[float, float, float]  # mean, lower and upper end


@dataclass(frozen=True)
class Score:
    """One number: run, sample, word, kind of word, map, metric, value."""

    run: str
    sample: str
    word: str
    kind: str
    map: str
    metric: str
    value: float


@dataclass(frozen=True)
class Table:
    """Means over clips.

    Attributes:
        rows: names of the rows.
        metrics: names of the columns.
        cells: by (row, metric), mean, lower and upper end, and the number of clips. Missing where nothing is known.
    """

    rows: Sequence[str]
    metrics: Sequence[str]
    cells: Mapping[tuple[str, str], tuple[Interval, int]]


def read_scores(paths: Sequence[Path]) -> list[Score]:
    """Scores of files, or of the files in runs' folders.

    Raises:
        ImapError: for a path that does not exist or has no scores, or a file of other columns or values.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise ImapError(f"there is no {missing[0]}; give {EXPECTED}")
    found: list[Score] = []
    for path, name in zip(paths, run_names(paths), strict=True):
        listed = [path / file for file in FILES if (path / file).is_file()] if path.is_dir() else [path]
        if not listed:
            raise ImapError(f"{path} has no scores; give {EXPECTED}")
        for file in listed:
            found += _read(file, name)
    return found


def _read(path: Path, run: str) -> list[Score]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if not set(COLUMNS) <= set(lines.fieldnames or ()):
                columns = ", ".join(lines.fieldnames or ["none"])
                raise ImapError(f"{path} has columns {columns}; expected {', '.join(COLUMNS)}; give {EXPECTED}")
            return [
                Score(
                    run, line["sample"], line["word"], line["kind"], line["map"], line["metric"], float(line["value"])
                )
                for line in lines
            ]
    except OSError as error:
        raise ImapError(f"{path} cannot be read ({error.strerror}); give {EXPECTED}") from None
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise ImapError(f"{path} is no table of scores ({error}); make it again, or give {EXPECTED}") from None


def row_names(scores: Iterable[Score]) -> dict[tuple[str, str], str]:
    """Names of rows by run and map: the map's label, after the run where there are several runs."""
    pairs = list(dict.fromkeys((score.run, score.map) for score in scores))
    several = len({run for run, _ in pairs}) > 1
    return {(run, key): (f"{run}: " if several else "") + label_of(key) for run, key in pairs}


def label_of(key: str) -> str:
    """Label of a map or a baseline, by its name in the file. A label stays as it is."""
    known = labels()
    if key.startswith(SHUFFLED):
        return f"another word's {label_of(key.removeprefix(SHUFFLED))}"
    if key.startswith(f"{RANDOM_HEADS}_"):  # one row for all draws
        after = AFTER_LABEL if key.removesuffix(CHOSEN).endswith(AFTER) else ""
        return ("random heads" if key.endswith(CHOSEN) else "random heads, all layers") + after
    return key.replace("_", " ") if key in BASELINES else known.get(key, key)


def by_word(scores: Iterable[Score], kind: str) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """Mean over the maps that share a row, by (row, metric) and (clip, word). kind: concept or motion.

    NaN is left out.
    """
    scores = [score for score in scores if score.kind == kind]
    names = row_names(scores)
    values: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if not np.isnan(score.value):
            values[names[score.run, score.map], score.metric][score.sample, score.word].append(score.value)
    return {place: {word: float(np.mean(x)) for word, x in words.items()} for place, words in values.items()}


def by_clip(words: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Mean over the words of each clip, of values by (clip, word)."""
    clips: dict[str, list[float]] = defaultdict(list)
    for (clip, _), value in words.items():
        clips[clip].append(value)
    return {clip: float(np.mean(x)) for clip, x in clips.items()}


def table(scores: Sequence[Score], kind: str, less: str | None = None) -> Table:
    """Means over clips of every row and metric.

    Args:
        scores: as `read_scores` returns them.
        kind: of the words: concept or motion.
        less: name of a row or map. Cells are then differences from it, word by word, over the words that both have.

    Raises:
        ImapError: for a row that does not exist.
    """
    words = by_word(scores, kind)
    rows, metrics = (list(dict.fromkeys(place[i] for place in words)) for i in (0, 1))
    if less is not None:
        less = label_of(less)
        if rows and less not in rows:
            raise ImapError(f"there is no row {less!r} to compare with; there are {', '.join(rows)}")
        base = {metric: words.get((less, metric), {}) for metric in metrics}
        words = {
            (row, metric): {word: x - base[metric][word] for word, x in values.items() if word in base[metric]}
            for (row, metric), values in words.items()
            if row != less
        }
        rows = [row for row in rows if row != less]
    clips = {place: by_clip(values) for place, values in words.items()}
    cells = {place: (interval(list(x.values())), len(x)) for place, x in clips.items() if x}
    return Table(rows, metrics, cells)


def published(metrics: Sequence[str]) -> Table:
    """What the paper reports, for the metrics of a table. Its values have no intervals."""
    text = files("imap.evaluation").joinpath("published.csv").read_text(encoding="utf-8")
    lines = [line for line in csv.DictReader(io.StringIO(text)) if line["metric"] in metrics]
    nan = float("nan")
    cells = {
        (f"{PUBLISHED}, {line['model']}: {line['map']}", line["metric"]): ((float(line["value"]), nan, nan), 0)
        for line in lines
    }
    return Table(list(dict.fromkeys(row for row, _ in cells)), metrics, cells)


def joined(first: Table, second: Table) -> Table:
    """Rows of one table under those of another."""
    return Table([*first.rows, *second.rows], first.metrics, {**first.cells, **second.cells})


def chosen(one: Table, metrics: Sequence[str] | None, maps: Sequence[str] | None) -> Table:
    """Some columns and rows, in the given order. maps: labels or keys.

    Raises:
        ImapError: for a metric that the table does not have, or a map without a row.
    """
    unknown = [name for name in metrics or () if name not in one.metrics]
    if unknown:
        raise ImapError(f"no metric {unknown[0]!r}; there are {', '.join(one.metrics)}")
    rows = one.rows
    if maps is not None:
        names = [label_of(name) for name in maps]
        rows = [row for name in names for row in one.rows if row == name or row.endswith(f": {name}")]
        missing = [name for name in names if not any(row == name or row.endswith(f": {name}") for row in one.rows)]
        if missing:
            raise ImapError(f"no row {missing[0]!r}; there are {', '.join(one.rows)}")
    return Table(rows, metrics or one.metrics, one.cells)
