"""DAVIS-2017: objects with masks, without words.

    <root>/JPEGImages/480p/<sequence>/00000.jpg ...
    <root>/Annotations/480p/<sequence>/00000.png ...     a palette's number per object; 0 is background
    <root>/ImageSets/2017/train.txt, val.txt

Frames are 24 per second. Annotations of test sequences are not published, but for the first frame.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from imap.errors import ImapError
from imap.evaluation.datasets.entry import (
    Entry,
    Options,
    labels,
    picture_clip,
    pictures,
    split_of,
    still_moving,
    times_at,
)
from imap.evaluation.datasets.words import Words, things, words_of
from imap.media.clip_file import Clip
from imap.media.truth import Truth

RATE, DEFAULT = 24, "val"
VOID = 255


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per sequence. All its objects are one noun: that of --words, else the sequence's name in words."""
    return (_entry(root, sequence, options) for sequence in sequences(root, options))


def sequences(root: Path, options: Options) -> list[str]:
    """Names of the sequences of the split. Raises ImapError for a root of another layout."""
    for folder in ("JPEGImages/480p", "Annotations/480p", "ImageSets/2017"):
        if not (root / folder).is_dir():
            raise ImapError(f"{root} is not a root of DAVIS-2017: it has no folder {folder}")
    sets = root / "ImageSets/2017"
    split = split_of(options, [path.stem for path in sets.glob("*.txt")], DEFAULT, root)
    names = (sets / f"{split}.txt").read_text(encoding="utf-8").split()
    if not names:
        raise ImapError(f"{sets / split}.txt names no sequence; expected one name per line")
    return names


def _entry(root: Path, sequence: str, options: Options) -> Entry:
    text = sequence.replace("-", " ").replace("_", " ")
    words = words_of(text, sequence, options.words, "concept")
    if sequence not in options.words:
        words = Words(f"A video of {text}.", words.concepts, words.motions, "the name of the sequence, as one concept")
    return entry(root, sequence, sequence, words, None, options)


def entry(root: Path, sequence: str, name: str, words: Words, object_: int | None, options: Options) -> Entry:
    """An entry of a sequence, with the masks of one object, or of all for None."""
    clip = partial(_clip, root / "JPEGImages/480p" / sequence, options.source_fps or RATE)
    truth = partial(_truth, root, sequence, words, object_)
    return Entry(name, words, clip, truth, facts={"sequence": sequence, "object": object_})


def _clip(folder: Path, rate: float) -> Clip:
    paths = pictures(folder)
    return picture_clip(paths, times_at(len(paths), rate))


def _truth(root: Path, sequence: str, words: Words, object_: int | None, taken: Sequence[int]) -> Truth:
    frames = pictures(root / "JPEGImages/480p" / sequence)
    size = picture_clip(frames[:1], None).shape[1:3]
    found = labels([root / "Annotations/480p" / sequence / f"{frames[i].stem}.png" for i in taken], size)
    return truth_of(found, words, object_)


def truth_of(numbers: np.ndarray, words: Words, object_: int | None) -> Truth:
    """Truth of labels (frames, height, width): of one object, or of all for None. 255 is void."""
    shown = [int(x) for x in np.unique(numbers) if x not in (0, VOID)] if object_ is None else [object_]
    nouns, verbs, of = things(words, len(shown))
    masks = np.stack([numbers == shown[k] for k in of]) if of else np.zeros((0, *numbers.shape), bool)
    void = numbers == VOID
    return still_moving(nouns, verbs, masks, void if void.any() else None)
