"""Scores and curves of every word of every clip of a scored run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from imap.errors import ImapError, UnknownNameError
from imap.evaluation.baselines import SHUFFLED
from imap.evaluation.cells import WordTruth
from imap.evaluation.explorer.curves import precision_at_recall, standardized
from imap.evaluation.explorer.films import Film, film
from imap.evaluation.run_scores import TABLE, kept_file
from imap.evaluation.sample_maps import SampleMaps
from imap.evaluation.sample_scores import Job, Row, kept_scores, others_of
from imap.evaluation.scores import frame_energy
from imap.evaluation.tables import label_of, read_scores
from imap.map_files import read_meta
from imap.methods.registry import CHOSEN


@dataclass(frozen=True)
class Entry:
    """One word of one clip.

    Attributes:
        sample: name of the sample's folder.
        caption: of the clip.
        word: the word.
        kind: motion or concept.
        scores: by row and metric.
        precision: by row, precision at RECALLS (20,).
        energy: by row, mean of the map per latent frame, standardized over frames.
        moving: of a motion word, booleans (latent frames,).
        truth: film of the true cells.
        films: by row, film of the map; of the first one, where several maps share a row.
    """

    sample: str
    caption: str
    word: str
    kind: str
    scores: Mapping[str, Mapping[str, float]]
    precision: Mapping[str, np.ndarray]
    energy: Mapping[str, np.ndarray]
    moving: np.ndarray | None
    truth: Film
    films: Mapping[str, Film]


def entries_of(run: Path, maps: Sequence[str] | None = None) -> list[Entry]:
    """All words of a run's scores.csv, in its order.

    Args:
        run: output folder of a run that `imap score run` has scored.
        maps: keys or rows of maps; None for those over the chosen layers, the baselines, and maps of other tools.

    Raises:
        ImapError: for a run without scores, a sample that has changed since, or an unknown map.
    """
    if not (run / TABLE).is_file():
        raise ImapError(f"{run} has no {TABLE}; make it with `imap score run {run} --baselines`")
    values: dict[str, dict[tuple[str, str], dict[str, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for score in read_scores([run / TABLE]):
        values[score.sample][score.word, score.kind].setdefault(score.map, {})[score.metric] = score.value
    names = list(dict.fromkeys(name for words in values.values() for word in words.values() for name in word))
    kept = _chosen(names, maps)
    entries = []
    for sample, words in tqdm(values.items(), "curves", unit="sample", disable=len(values) < 20):
        entries += _entries(run, sample, words, kept)
    return entries


def _chosen(names: Sequence[str], maps: Sequence[str] | None) -> list[str]:
    """Names of maps that the page shows."""
    if maps is None:
        twins = {name.removesuffix(CHOSEN) for name in names if name.endswith(CHOSEN)}
        return [name for name in names if name not in twins and not name.startswith(SHUFFLED)]
    unknown = [name for name in maps if name not in names and name not in map(label_of, names)]
    if unknown:
        raise UnknownNameError(f"no scores of {unknown[0]!r}; there are {', '.join(names)}")
    return [name for name in names if name in maps or label_of(name) in maps]


def _entries(
    run: Path, sample: str, words: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]], names: Sequence[str]
) -> list[Entry]:
    """The words of one sample."""
    scored_maps = tuple(dict.fromkeys(name for scores in words.values() for name in scores))
    job = Job(run / sample, kept_file(run, sample), scored_maps)
    others = others_of(job)
    if others is None or not _are_kept(words, kept_scores(replace(job, others=others))):
        raise ImapError(f"{run / sample} has changed since it was scored; run `imap score run {run}` again")
    maps, meta = SampleMaps(run / sample, others), read_meta(run / sample) or {}
    caption = meta.get("request", {}).get("sample", {}).get("prompt") or sample
    found = []
    for (word, kind), scores in words.items():
        truth, rows, films = maps.words[word], defaultdict(list), {}
        for name in names:
            x = maps.of(name, word) if name in scores else None
            if x is not None:
                rows[label_of(name)].append((scores[name], *_curves(x, truth)))
                films.setdefault(label_of(name), film(x))
        scored, precision, energy = (
            {label: _mean([draw[i] for draw in draws]) for label, draws in rows.items()} for i in range(3)
        )
        found.append(
            Entry(sample, caption, word, kind, scored, precision, energy, truth.moving, film(truth.own), films)
        )
    return found


def _are_kept(
    words: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]], kept: Mapping[str, Sequence[Row]]
) -> bool:
    """Whether a table has the scores that are kept. A command that was stopped keeps scores and writes no table."""
    values = {(name, word, kind, metric): x for name, rows in kept.items() for word, kind, metric, x in rows}
    return all(
        f"{values.get((name, word, kind, metric), np.inf):.6g}" == f"{x:.6g}"
        for (word, kind), maps in words.items()
        for name, scores in maps.items()
        for metric, x in scores.items()
    )


def _curves(x: np.ndarray, truth: WordTruth) -> tuple[np.ndarray, np.ndarray]:
    precision = precision_at_recall(x[truth.known], truth.own[truth.known])
    return precision, standardized(frame_energy(x, truth.known))


def _mean(draws: Sequence[Any]) -> Any:
    """Mean of the numbers or curves of maps that share a row, such as draws of random heads."""
    if isinstance(draws[0], np.ndarray):
        return np.mean(draws, axis=0)
    return {metric: float(np.mean([scores[metric] for scores in draws])) for metric in draws[0]}
