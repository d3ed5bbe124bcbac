"""VSPW: the class of every pixel, of 124 classes.

    <root>/data/<video>/origin/00000001.jpg ...
    <root>/data/<video>/mask/00000001.png ...      the number of the class; 0 (others) and 255 are void
    <root>/train.txt, val.txt, test.txt            names of videos
    <root>/label_num_dic_final.json                name of a class: its number, from 0 (others) to 124

Frames are 15 per second. The data set has no captions, and no words of motion.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from imap.evaluation.datasets.words import Words, read_json, words_of
from imap.media.clip_file import Clip
from imap.media.truth import Truth

RATE, DEFAULT = 15, "val"
VOID = (0, 255)
CLASSES = "label_num_dic_final.json"


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per video of the split. Its words are the classes that its cut frames show."""
    if not (root / "data").is_dir():
        raise ImapError(f"{root} is not a root of VSPW: expected the folder data, and val.txt and {CLASSES} beside it")
    split = split_of(options, [path.stem for path in root.glob("*.txt")], DEFAULT, root)
    classes = class_names(root)
    names = (root / f"{split}.txt").read_text(encoding="utf-8").split()
    if not names:
        raise ImapError(f"{root / split}.txt names no video; expected one name per line")
    return (_entry(root / "data" / name, classes, options) for name in names)


def class_names(root: Path) -> dict[int, str]:
    """Name of each class by its number, without the void ones: "traffic_light" is "traffic light"."""
    numbers = read_json(root / CLASSES, "the numbers of the classes by their names")
    try:
        names = {int(number): name.replace("_", " ") for name, number in numbers.items()}
    except (AttributeError, TypeError, ValueError):
        raise ImapError(f"{root / CLASSES} holds no numbers by names; download it again") from None
    return {number: name for number, name in names.items() if number not in VOID}


def _entry(folder: Path, classes: Mapping[int, str], options: Options) -> Entry:
    frames = partial(pictures, folder / "origin")
    clip = partial(_clip, frames, options.source_fps or RATE)
    known = options.words.get(folder.name)
    words = words_of(known.caption, folder.name, options.words, "concept") if known else None
    has_masks = (folder / "mask").is_dir()  # those of the test split are not published
    if not has_masks and words is None:
        raise ImapError(
            f"{folder} has no folder mask, from which its words come; choose another --split or set --words"
        )
    return Entry(folder.name, words, clip, partial(_truth, folder, classes) if has_masks else None)


def _clip(frames: partial[list[Path]], rate: float) -> Clip:
    paths = frames()
    return picture_clip(paths, times_at(len(paths), rate))


def _truth(folder: Path, classes: Mapping[int, str], taken: Sequence[int]) -> Truth:
    frames = pictures(folder / "origin")
    size = picture_clip(frames[:1], None).shape[1:3]
    numbers = labels([folder / "mask" / f"{frames[i].stem}.png" for i in taken], size)
    shown = [int(x) for x in np.unique(numbers) if x not in VOID]
    unknown = [x for x in shown if x not in classes]
    if unknown:
        raise ImapError(f"{folder / 'mask'} has the class {unknown[0]}, which {CLASSES} does not name")
    masks = np.stack([numbers == x for x in shown]) if shown else np.zeros((0, *numbers.shape), bool)
    return still_moving([classes[x] for x in shown], [""] * len(shown), masks, np.isin(numbers, VOID))


def caption_of(concepts: Sequence[str]) -> Words:
    """Caption and words of a clip that has none: "A video of sky, road and car." """
    *first, last = concepts
    text = f"A video of {', '.join(first)} and {last}." if first else f"A video of {last}."
    return Words(text, tuple(concepts), (), "classes that the cut frames show")
