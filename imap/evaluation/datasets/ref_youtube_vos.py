"""Ref-YouTube-VOS: expressions, each of one object.

    <root>/<split>/JPEGImages/<video>/00000.jpg, 00005.jpg ...
    <root>/<split>/Annotations/<video>/00000.png ...      a palette's number per object; of train only
    <root>/meta_expressions/<split>/meta_expressions.json

Every fifth frame of 30 per second is there: the number of a frame says its time.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from imap.errors import ImapError, brief
from imap.evaluation.datasets.davis import truth_of
from imap.evaluation.datasets.entry import Entry, Options, labels, picture_clip, split_of, times_at
from imap.evaluation.datasets.words import Words, read_json, words_of
from imap.media.clip_file import Clip
from imap.media.truth import Truth

RATE, DEFAULT = 30, "train"


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per expression. Splits without annotations have clips without a truth."""
    found = [path.parent.name for path in root.glob("*/JPEGImages") if path.is_dir()]
    if not found:
        raise ImapError(f"{root} is not a root of Ref-YouTube-VOS: expected <split>/JPEGImages, as in train/JPEGImages")
    split = split_of(options, found, DEFAULT, root)
    meta = root / "meta_expressions" / split / "meta_expressions.json"
    videos = read_json(meta, "expressions of Ref-YouTube-VOS")
    videos = videos.get("videos") if isinstance(videos, dict) else None
    if not isinstance(videos, dict):
        raise ImapError(f"{meta} has no object videos; expected the expressions of Ref-YouTube-VOS")
    return _entries(root / split, videos, options)


def _entries(folder: Path, videos: Mapping[str, Any], options: Options) -> Iterator[Entry]:
    has_masks = (folder / "Annotations").is_dir()
    for video, facts in videos.items():
        try:
            frames, expressions = (
                [str(x) for x in facts["frames"]],
                {key: (x["exp"], x) for key, x in facts["expressions"].items()},
            )
            numbers = [int(frame) for frame in frames]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ImapError(f"video {video} of {folder} needs frames and expressions; found {brief(facts)}") from None
        times = times_at(len(frames), options.source_fps) or _times(numbers)
        clip = partial(picture_clip, [folder / "JPEGImages" / video / f"{frame}.jpg" for frame in frames], times)
        for number, (text, expression) in expressions.items():
            name = f"{video}-{number}"
            words = words_of(text, name, options.words, "concept")
            is_known = has_masks and "obj_id" in expression
            paths = [folder / "Annotations" / video / f"{frame}.png" for frame in frames]
            truth = partial(_truth, paths, clip, words, int(expression["obj_id"])) if is_known else None
            record = {"video": video, "expression": number, "object": expression.get("obj_id")}
            yield Entry(name, words, clip, truth, facts=record)


def _times(numbers: Sequence[int]) -> list[float]:
    """Seconds from the first frame, and the end of the last, which is shown as long as the one before."""
    step = numbers[-1] - numbers[-2] if len(numbers) > 1 else 5
    return [(x - numbers[0]) / RATE for x in (*numbers, numbers[-1] + step)]


def _truth(paths: Sequence[Path], clip: partial[Clip], words: Words, object_: int, taken: Sequence[int]) -> Truth:
    return truth_of(labels([paths[i] for i in taken], clip().shape[1:3]), words, object_)
