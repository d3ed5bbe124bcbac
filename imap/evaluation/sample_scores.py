"""Scores of all maps of a finished sample, and the file that keeps them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imap.atomic import replaced
from imap.errors import one_line
from imap.evaluation.baselines import BASELINES, SHUFFLED
from imap.evaluation.other_maps import OtherMaps
from imap.evaluation.sample_maps import SampleMaps
from imap.evaluation.word_scores import VERSION, word_scores
from imap.map_files import ARRAYS, META, TRUTH, VIDEO
from imap.methods.registry import EFFECT, RANDOM_HEADS

Row = tuple[str, str, str, float]  # word, kind, metric, value


@dataclass(frozen=True)
class Job:
    """A sample to score.

    Attributes:
        folder: of the sample.
        kept: the file that keeps its scores.
        maps: keys of maps, names of baselines and of other tools' maps.
        others: maps of other tools.
    """

    folder: Path
    kept: Path
    maps: tuple[str, ...]
    others: tuple[OtherMaps, ...] = ()


def names_of_maps(meta: Mapping[str, Any], keys: Sequence[str] | None, baselines: bool) -> tuple[str, ...]:
    """What is scored of a sample: its maps, and the baselines that it allows.

    Args:
        meta: of the sample.
        keys: of maps; None for all. Those that the sample does not have are left out.
        baselines: whether to add BASELINES, and for every map that of another word.
    """
    own = [key for key in meta["keys"] if keys is None or key in keys]
    if not baselines:
        return tuple(own)
    free = [name for name in BASELINES if name != "frame_difference" or "fps" in meta]  # fps: it has a video
    shuffled = [key for key in own if not key.startswith(RANDOM_HEADS)] if len(meta["texts"]) > 1 else []
    return (*own, *free, *(SHUFFLED + key for key in shuffled))


def fingerprint(folder: Path) -> dict[str, Any]:
    """What scores depend on: the version of the metrics, and size and time of every file that is read."""
    own = [folder / META, folder / TRUTH, folder / VIDEO, *sorted((folder / ARRAYS).glob("*.npy"))]
    states = {path.relative_to(folder).as_posix(): state_of(path) for path in own if path.is_file()}
    return {"metrics": VERSION, "files": states}


def other_states(job: Job) -> dict[str, dict[str, list[int]]]:
    """State of the files of other tools' maps, by name of the maps. The files may be links."""
    sample = job.folder.name
    return {
        other.name: {str(path): state_of(path) for path in replace(other, folder=other.folder.resolve()).files(sample)}
        for other in job.others
    }


def state_of(path: Path) -> list[int]:
    """Size of a file, and when it was written."""
    one = path.stat()
    return [one.st_size, one.st_mtime_ns]


def kept_scores(job: Job) -> dict[str, list[Row]]:
    """Scores that are kept and still hold, by name of the map."""
    return _kept(job)[0]


def _kept(job: Job) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Scores that still hold, and the states of the files of other tools' maps when they were scored."""
    try:
        kept = json.loads(job.kept.read_text(encoding="utf-8"))
        if kept["fingerprint"] != fingerprint(job.folder):
            return {}, {}
        then = kept["others"]
        changed = {name for name, now in other_states(job).items() if then.get(name) != now}
        rows = {name: [tuple(row) for row in rows] for name, rows in kept["maps"].items() if name not in changed}
        return rows, then
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


def others_of(job: Job) -> tuple[OtherMaps, ...] | None:
    """Other tools' maps among `job.maps`; None if the sample, or one of them, has changed since it was scored."""
    rows, then = _kept(job)
    then = {name: states for name, states in then.items() if name in job.maps}
    others = tuple(OtherMaps(name, Path(next(iter(states))).parents[1]) for name, states in then.items() if states)
    now = other_states(replace(job, others=others))
    return others if rows and all(now.get(name) == states for name, states in then.items()) else None


def score(job: Job) -> str | None:
    """Score the maps of a sample that are not yet kept, and keep them. Returns why it failed, in one line."""
    try:
        state, now, (kept, then) = fingerprint(job.folder), other_states(job), _kept(job)
        found = sample_scores(job.folder, [name for name in job.maps if name not in kept], job.others)
        entry = {"fingerprint": state, "others": {**then, **now}, "maps": {**kept, **found}}
        with replaced(job.kept) as part:
            part.write_text(json.dumps(entry), encoding="utf-8")
    except Exception as error:  # of a damaged sample; the others go on
        return one_line(error)
    return None


def sample_scores(folder: Path, names: Iterable[str], others: Sequence[OtherMaps] = ()) -> dict[str, list[Row]]:
    """Scores of the words of a sample that its truth has, by name of the map.

    Args:
        folder: of the sample; it has a truth.
        names: of maps, as `names_of_maps` returns them.
        others: maps of other tools.

    Raises:
        ImapError: for a damaged sample, or a truth that does not fit it.
    """
    maps = SampleMaps(folder, others)
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for text, truth in maps.words.items():
        effect, known_scores = maps.of(EFFECT, text) if maps.has_effect else None, {}
        for name in rows:
            x = maps.of(name, text)
            if x is None:
                continue
            same = (x.tobytes(), name == EFFECT)  # where imap_layer chooses all layers, every map is there twice
            if same not in known_scores:
                known_scores[same] = word_scores(x, truth, None if name == EFFECT else effect)
            rows[name] += [(text, maps.kind(text), metric, value) for metric, value in known_scores[same].items()]
    return rows
