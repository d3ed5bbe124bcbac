"""Scores of all maps of a finished sample, and the file that keeps them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import replaced
from imap.errors import ImapError, one_line
from imap.evaluation.baselines import BASELINES, SHUFFLED, centre_prior, frame_difference, other_word, uniform
from imap.evaluation.cells import TruthOnGrid
from imap.evaluation.word_scores import VERSION, word_scores
from imap.map_files import AGAIN, ARRAYS, META, TRUTH, VIDEO, read_array, read_meta
from imap.media.truth import Truth, read_truth
from imap.media.video_io import read_video
from imap.methods.registry import EFFECT
from imap.saliency import Maps
from imap.view.lengths import check_length

Row = tuple[str, str, str, float]  # word, kind, metric, value
MOTION, CONCEPT = "motion", "concept"


@dataclass(frozen=True)
class Job:
    """A sample to score.

    Attributes:
        folder: of the sample.
        kept: the file that keeps its scores.
        maps: keys of maps and names of baselines.
    """

    folder: Path
    kept: Path
    maps: tuple[str, ...]


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
    return (*own, *free, *(SHUFFLED + key for key in own if len(meta["texts"]) > 1))


def fingerprint(folder: Path) -> dict[str, Any]:
    """What scores depend on: the version of the metrics, and size and time of every file that is read."""
    files = [folder / META, folder / TRUTH, folder / VIDEO, *sorted((folder / ARRAYS).glob("*.npy"))]
    states = {path.relative_to(folder).as_posix(): path.stat() for path in files if path.is_file()}
    return {"metrics": VERSION, "files": {name: [one.st_size, one.st_mtime_ns] for name, one in states.items()}}


def kept_scores(job: Job) -> dict[str, list[Row]]:
    """Scores that are kept and still hold, by name of the map."""
    try:
        kept = json.loads(job.kept.read_text(encoding="utf-8"))
        if kept["fingerprint"] != fingerprint(job.folder):
            return {}
        return {name: [tuple(row) for row in rows] for name, rows in kept["maps"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def score(job: Job) -> str | None:
    """Score the maps of a sample that are not yet kept, and keep them. Returns why it failed, in one line."""
    try:
        before, kept = fingerprint(job.folder), kept_scores(job)
        lacking = [name for name in job.maps if name not in kept]
        found = sample_scores(job.folder, lacking)
        with replaced(job.kept) as part:
            part.write_text(json.dumps({"fingerprint": before, "maps": {**kept, **found}}), encoding="utf-8")
    except Exception as error:  # of a damaged sample; the others go on
        return one_line(error)
    return None


def sample_scores(folder: Path, names: Iterable[str]) -> dict[str, list[Row]]:
    """Scores of the words of a sample that its truth has, by name of the map.

    Args:
        folder: of the sample; it has a truth.
        names: keys of maps and names of baselines, as `names_of_maps` returns them.

    Raises:
        ImapError: for a damaged sample, or a truth that does not fit it.
    """
    meta = read_meta(folder)
    if meta is None:
        raise ImapError(f"{folder} holds no finished sample: there is no readable {META}; {AGAIN}")
    texts, motions = tuple(meta["texts"]), frozenset(meta["motions"])
    paths = {key: folder / ARRAYS / f"{key}.npy" for key in meta["keys"]}
    wanted = {key for name in names if (key := name.removeprefix(SHUFFLED)) in paths} | ({EFFECT} & set(paths))
    arrays = {key: read_array(paths[key], len(texts), on_use=True) for key in [*wanted, *list(paths)[:1]]}
    maps = Maps(arrays, texts, motions, facts=meta)
    truth = TruthOnGrid(_truth(folder, maps), next(iter(arrays.values())).shape[1:])
    words = {text: known for text in texts if (known := truth.word(text, text in motions)) is not None}
    free = _free_maps(folder, truth, set(names)) if words else {}
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for text, known in words.items():
        effect = _row(maps, EFFECT, text) if EFFECT in arrays else None
        kind, known_scores = MOTION if text in motions else CONCEPT, {}
        for name in rows:
            if name in free:
                x = free[name]
            elif name in arrays:
                x = _row(maps, name, text)
            else:
                x = _row(maps, name.removeprefix(SHUFFLED), other_word(texts, motions, text) or text)
            same = (x.tobytes(), name == EFFECT)  # where imap_layer chooses all layers, every map is there twice
            if same not in known_scores:
                known_scores[same] = word_scores(x, known, None if name == EFFECT else effect)
            scores = known_scores[same]
            rows[name] += [(text, kind, metric, value) for metric, value in scores.items()]
    return rows


def _free_maps(folder: Path, truth: TruthOnGrid, names: set[str]) -> dict[str, np.ndarray]:
    """Baselines that need no model, by name; those of `names`."""
    make = {
        "uniform": lambda: uniform(truth.grid),
        "centre_prior": lambda: centre_prior(truth.grid),
        "frame_difference": lambda: frame_difference(_video(folder, truth.truth), truth.grid),
    }
    return {name: make[name]() for name in BASELINES if name in names}


def _row(maps: Maps, key: str, text: str) -> np.ndarray:
    x = np.asarray(maps.arrays[key][maps.texts.index(text)])
    if not np.isfinite(x).all():
        raise ImapError(f"the maps {key!r} have values that are NaN or infinite, which cannot be scored; {AGAIN}")
    return x


def _truth(folder: Path, maps: Maps) -> Truth:
    truth = read_truth(folder / TRUTH)
    size, pixels = truth.masks.shape[1:], maps.facts.get("pixels")
    if pixels is not None and tuple(pixels) != size[-len(pixels) :]:
        raise ImapError(f"{folder / TRUTH} has masks of {size}, and the video is {tuple(pixels)}; {AGAIN}")
    check_length(maps, size[0])
    return truth


def _video(folder: Path, truth: Truth) -> np.ndarray:
    try:
        frames = read_video(folder / VIDEO)
    except ValueError as error:
        raise ImapError(f"{folder / VIDEO} cannot be decoded as a video ({error}); {AGAIN}") from None
    if frames.shape[:3] != truth.masks.shape[1:]:
        raise ImapError(f"{folder / VIDEO} is {frames.shape[:3]}, and its masks {truth.masks.shape[1:]}; {AGAIN}")
    return frames
