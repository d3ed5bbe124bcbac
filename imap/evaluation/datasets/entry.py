"""The common shape of all data sets: entries, each one clip with its words and, if known, its truth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imap.errors import ImapError, first_line
from imap.evaluation.datasets.words import Words
from imap.media.clip_file import Clip
from imap.media.truth import Truth

PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Options:
    """What a user may choose of every data set.

    Attributes:
        split: a split of the data set; None takes its default.
        words: words of expressions, by expression or by name (`imap.evaluation.datasets.words.read_words`).
        source_fps: frames per second of the pictures; None takes what the data set states.
    """

    split: str | None = None
    words: Mapping[str, Words] = field(default_factory=dict)
    source_fps: float | None = None


@dataclass(frozen=True)
class Entry:
    """One clip of a data set. Nothing large is read before `clip` or `truth` is called.

    Attributes:
        name: of its files; unique in the data set.
        words: caption, concepts and motions; None takes the nouns of the truth that are in the clip (VSPW).
        clip: opens the clip.
        truth: the truth of frames of the given numbers, at the clip's own size; None where none is published.
        motion: data if the data set says when things move, else unknown: `Truth.moving` is then all true.
        facts: what the sidecar file records of the source.
    """

    name: str
    words: Words | None
    clip: Callable[[], Clip]
    truth: Callable[[Sequence[int]], Truth] | None
    motion: str = "unknown"
    facts: Mapping[str, Any] = field(default_factory=dict)


def still_moving(
    nouns: Sequence[str], verbs: Sequence[str], masks: np.ndarray, void: np.ndarray | None = None
) -> Truth:
    """A truth of masks (things, frames, height, width) of things of which nobody knows when they move."""
    return Truth(list(nouns), list(verbs), masks, np.ones(masks.shape[:2], bool), void)


def pictures(folder: Path) -> list[Path]:
    """Pictures of a folder, by name. Raises ImapError if there is none."""
    found = sorted(path for path in _listed(folder) if path.suffix.lower() in PICTURES)
    if not found:
        raise ImapError(f"{folder} holds no pictures; expected the frames of a video, {' or '.join(PICTURES)}")
    return found


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ImapError(f"there is no folder {folder}; expected the frames of a video")
    return list(folder.iterdir())


def picture_clip(paths: Sequence[Path], times: Sequence[float] | None) -> Clip:
    """A clip of pictures.

    Args:
        paths: of the frames, in order.
        times: seconds of each frame and of the end of the last, one more than frames; None without a clock.

    Raises:
        ImapError: a picture is missing, cannot be read, or is of another size than the first.
    """
    for path in paths:
        if not path.is_file():
            raise ImapError(f"the frame {path} is missing; expected {len(paths)} frames in {path.parent}")
    height, width = _read(paths[0], "RGB").shape[:2]
    return Clip((len(paths), height, width, 3), tuple(times) if times else None, partial(_pick, paths, (height, width)))


def _pick(paths: Sequence[Path], size: tuple[int, int], numbers: Sequence[int]) -> Iterator[np.ndarray]:
    for number in numbers:
        yield _sized(paths[number], _read(paths[number], "RGB"), size)


def _read(path: Path, mode: str | None) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.array(
                picture.convert(mode) if mode else picture
            )  # a copy, as torch warns of arrays it cannot write
    except FileNotFoundError:
        raise ImapError(f"{path} is missing; the data set is not complete") from None
    except OSError as error:
        raise ImapError(f"{path} is not a picture that can be read: {first_line(error)}") from None


def _sized(path: Path, array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    if array.shape[:2] != size:
        found, wanted = ("x".join(map(str, x)) for x in (array.shape[:2], size))
        raise ImapError(f"{path} is {found}, and {wanted} is expected (height x width)")
    return array


def labels(paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Labels of pictures (frames, height, width): the values of grey pictures, the palette's numbers of coloured ones.

    Raises ImapError for pictures in RGB, which have no numbers, and for those that `picture_clip` would refuse.
    """
    arrays = [_sized(path, _read(path, None), size) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.ndim != 2:
            raise ImapError(
                f"{path} is in colour; expected a grey picture or one with a palette, one number per object"
            )
    return np.stack(arrays)


def times_at(frames: int, rate: float | None) -> list[float] | None:
    """Times of so many frames at a rate, with the end; None without a rate."""
    return None if rate is None else [i / rate for i in range(frames + 1)]


def split_of(options: Options, found: Sequence[str], default: str, root: Path) -> str:
    """The chosen split. Raises ImapError if it is not among those found."""
    split = options.split or default
    if split not in found:
        raise ImapError(f"{root} has no split {split}; found {', '.join(sorted(found)) or 'none'}. Set --split")
    return split
