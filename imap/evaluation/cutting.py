"""An entry of a data set as files: a clip of the model's length and size, its truth, and what was done."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imap.atomic import partial_of, restore
from imap.errors import ImapError
from imap.evaluation.datasets.entry import Entry
from imap.evaluation.datasets.vspw import caption_of
from imap.evaluation.datasets.words import Words
from imap.evaluation.moving import estimate_moving
from imap.media.clip_file import Clip, stacked
from imap.media.clip_times import chosen_frames
from imap.media.clips import Fit, resized
from imap.media.fitted_truth import fitted_mask
from imap.media.truth import Truth, truth_path, write_truth
from imap.media.video_io import RATE, check_fps, steady_times, write_video

MOVING = {"estimate": "from masks and frames", "always": "in every frame in which the object is seen"}
QUALITY = 12  # of x264, where 18 is said to look as the source does
SHORT = "even, as the clip is too short for the rate"
VERSION = 1  # of what a sidecar file promises: another one is cut again


@dataclass(frozen=True)
class Cut:
    """Length and size of clips.

    Attributes:
        frames, height, width: of every clip.
        resize: crop (scale to cover, cut the middle) or stretch, as of `Fit`.
        fps: frames per second at which frames are taken, from the first one on; None spreads them over the whole clip.
        moving: what `Truth.moving` is for data without labels of motion: a key of `MOVING`.
    """

    frames: int = 49
    height: int = 480
    width: int = 720
    resize: str = "crop"
    fps: float | None = None
    moving: str = "estimate"


@dataclass(frozen=True)
class Taken:
    """Frames of a clip: their numbers, the rate at which the cut clip plays, and how they were chosen."""

    numbers: Sequence[int]
    rate: float
    how: str


def taken_frames(clip: Clip, cut: Cut, name: str) -> Taken:
    """Which frames of a clip are cut out. A clip too short for `cut.fps` is spread: frames even over its whole time.

    Raises ImapError for a single picture, and for a rate where the clip has no time stamps.
    """
    count = clip.shape[0]
    if count == 1 < cut.frames:
        raise ImapError(f"{name} is a single picture, and {cut.frames} frames are expected; give a video")
    if cut.fps is not None and clip.times is None:
        raise ImapError(f"{name}: this data set states no frame rate, which --fps needs; set --source-fps too")
    if cut.fps is not None and clip.times is not None:
        points = clip.times[0] + np.arange(cut.frames) / cut.fps
        if points[-1] < clip.times[-1]:
            starts = np.asarray(clip.times[:-1])
            numbers = np.abs(points[:, None] - starts).argmin(axis=1)
            return Taken([int(i) for i in numbers], check_fps(cut.fps), "rate")
    numbers = chosen_frames(clip, Fit(num_frames=cut.frames, frames="uniform"), name)
    if clip.times is None or cut.frames == 1:
        return Taken(numbers, RATE, "even")
    seconds = clip.times[numbers[-1]] - clip.times[numbers[0]]
    short = cut.fps is not None
    return Taken(numbers, (cut.frames - 1) / seconds, SHORT if short else "even")


def write_cut(entry: Entry, cut: Cut, folder: Path) -> dict[str, Any] | None:
    """Write <name>.mp4, truth-<name>.npz and <name>.json of an entry, and return what the last one holds.

    A clip that is finished with the same settings is left as it is. The sidecar file <name>.json comes last: it says
    that the others are whole. None for a clip without any word: its frames are all void.
    """
    sidecar = folder / f"{entry.name}.json"
    settings = {"version": VERSION, **asdict(cut), "words": entry.words and asdict(entry.words)}
    settings["source"] = dict(entry.facts)
    settings = json.loads(json.dumps(settings))  # tuples become lists, as in the file
    restore(folder / entry.name)
    done = _finished(sidecar, settings)
    if done:
        return done
    clip = entry.clip()
    taken = taken_frames(clip, cut, entry.name)
    size = (cut.height, cut.width)
    frames = stacked((_fitted(frame, size, cut.resize) for frame in clip.pick(taken.numbers)), cut.frames)
    truth, moving = _truth(entry, cut, taken, frames)
    words = entry.words or _words(truth)
    if words is None:
        return None
    partial = partial_of(folder / entry.name)
    partial.mkdir(parents=True)
    try:
        video = folder / f"{entry.name}.mp4"
        write_video(partial / video.name, frames, taken.rate, crf=QUALITY)
        if truth is not None:
            write_truth(truth_path(partial / video.name), truth)
        record = _record(entry, taken, clip, words, moving)
        line = list_line(words, f"{folder.name}/{video.name}")
        record = {"entry": line, "settings": settings, **record}
        text = json.dumps(record, ensure_ascii=False)
        (partial / sidecar.name).write_text(text + "\n", encoding="utf-8")
        sidecar.unlink(missing_ok=True)
        truth_path(video).unlink(missing_ok=True)
        for path in sorted(partial.iterdir(), key=lambda path: path == partial / sidecar.name):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _finished(sidecar: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    video = sidecar.with_suffix(".mp4")
    whole = video.is_file() and (truth_path(video).is_file() or record.get("moving") is None)
    return record if whole and record.get("settings") == settings else None


def _fitted(frame: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    return frame if frame.shape[:2] == size else resized(frame, size, how)


def _truth(entry: Entry, cut: Cut, taken: Taken, frames: np.ndarray) -> tuple[Truth | None, str | None]:
    """Truth of the cut clip, and where its times of motion come from."""
    if entry.truth is None:
        return None, None
    found, size = entry.truth(taken.numbers), frames.shape[1:3]
    shape = (len(found.nouns), *frames.shape[:3])
    masks = np.stack([fitted_mask(one, size, cut.resize) for one in found.masks]) if shape[0] else np.zeros(shape, bool)
    void = None if found.void is None else fitted_mask(found.void, size, cut.resize)
    shown = [k for k in range(shape[0]) if entry.words or masks[k].any()]  # a class may lie in the part that is cut off
    nouns, verbs = ([texts[k] for k in shown] for texts in (found.nouns, found.verbs))
    moving, source = found.moving[shown], "from the data set"
    if entry.motion == "unknown":
        acting = [i for i, verb in enumerate(verbs) if verb]
        moving, source = np.zeros((len(shown), len(frames)), bool), "no words of motion"
        if acting and cut.moving == "always":
            moving, source = np.asarray(masks[shown].any(axis=(2, 3))), f"always: {MOVING['always']}"
        elif acting:
            times = steady_times(len(frames), taken.rate)
            moving[acting] = estimate_moving(masks[shown][acting], frames, times)
            source = f"estimated: {MOVING['estimate']}"
    return Truth(nouns, verbs, masks[shown], moving, void), source


def _words(truth: Truth | None) -> Words | None:
    nouns = tuple(dict.fromkeys(truth.nouns)) if truth else ()
    return caption_of(nouns) if nouns else None


def list_line(words: Words, video: str) -> dict[str, Any]:
    """An entry of the list that `imap renoise input_json=` reads. Words are a list: one may have a comma in it."""
    return {
        "caption": words.caption,
        "concepts": list(words.concepts),
        "object": list(words.motions),
        "video_path": video,
    }


def _record(entry: Entry, taken: Taken, clip: Clip, words: Words, moving: str | None) -> dict[str, Any]:
    repeated = len(taken.numbers) - len(set(taken.numbers))
    return {
        "clip": {"frames": clip.shape[0], "height": clip.shape[1], "width": clip.shape[2]},
        "taken": list(taken.numbers),
        "seconds": None if clip.times is None else [round(clip.times[i], 6) for i in taken.numbers],
        "chosen": taken.how,
        "repeated": repeated,
        "fps": round(taken.rate, 6),
        "words": words.source,
        "moving": moving,
    }
