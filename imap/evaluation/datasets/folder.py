"""Your clips.

    <root>/clips.json            or list.json: a list as imap renoise reads it, with a video_path from the root
    <root>/<clip>.mp4
    <root>/truth-<clip>.npz      a truth file; or
    <root>/<clip>/*.png          a mask per frame: 0 is background, k the k-th object, 255 void

In masks, the k-th object is the k-th concept of its entry, and does the k-th motion. If a mask has only 0 and 255,
255 is the first object.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError, brief
from imap.evaluation.datasets.entry import Entry, Options, labels, pictures, still_moving
from imap.evaluation.datasets.words import Words, read_json, split
from imap.media.clip_file import open_clip
from imap.media.fitted_truth import check_truth
from imap.media.truth import Truth, read_truth, truth_path

LISTS = ("clips.json", "list.json")
VOID = 255


def entries(root: Path, options: Options, needs_truth: bool = False) -> Iterator[Entry]:
    """An entry per entry of the list. needs_truth: a clip without a truth file is an error."""
    if options.split is not None:
        raise ImapError(f"{root} is a folder of clips, which has no splits; leave out --split")
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is None:
        raise ImapError(f"{root} has no {' or '.join(LISTS)}; expected a list of caption, concepts, object, video_path")
    listed = read_json(path, "a list of clips")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ImapError(f"{path} is not a list of entries; expected caption, concepts, object, video_path")
    return (_entry(root, path, number, one, options, needs_truth) for number, one in enumerate(listed))


def _entry(root: Path, path: Path, number: int, one: Mapping[str, Any], options: Options, needs_truth: bool) -> Entry:
    if not isinstance(one.get("video_path"), str) or not isinstance(one.get("caption"), str):
        raise ImapError(f"{path}: entry {number} needs caption and video_path; found {brief(dict(one))}")
    video = root / one["video_path"]
    words = options.words.get(video.stem) or Words(
        one["caption"], split(one.get("concepts")), split(one.get("object")), f"from {path.name}"
    )
    if truth_path(video).is_file():
        return Entry(video.stem, words, partial(open_clip, video), partial(_from_file, video), motion="data")
    if needs_truth:
        raise ImapError(f"{truth_path(video)} is missing; clips of the embedded world have one each")
    masks = video.with_suffix("")
    truth = partial(_from_masks, video, masks, words) if masks.is_dir() else None
    return Entry(video.stem, words, partial(open_clip, video), truth)


def _from_file(video: Path, taken: Sequence[int]) -> Truth:
    check_truth(video, open_clip(video))
    truth, frames = read_truth(truth_path(video)), list(taken)
    void = None if truth.void is None else truth.void[frames]
    return Truth(truth.nouns, truth.verbs, truth.masks[:, frames], truth.moving[:, frames], void)


def _from_masks(video: Path, folder: Path, words: Words, taken: Sequence[int]) -> Truth:
    paths, clip = pictures(folder), open_clip(video)
    if len(paths) != clip.shape[0]:
        raise ImapError(
            f"{folder} has {len(paths)} masks, and {video.name} has {clip.shape[0]} frames; make one of each"
        )
    numbers = labels(paths, clip.shape[1:3]).astype(np.uint8)  # of all frames, as 255 may be an object in some alone
    if set(np.unique(numbers)) <= {0, VOID}:
        numbers = (numbers == VOID).astype(np.uint8)
    return _numbered(numbers[list(taken)], max(1, int(numbers[numbers != VOID].max())), words)


def _numbered(numbers: np.ndarray, count: int, words: Words) -> Truth:
    """Truth of so many objects from their labels (frames, height, width). Words without an object have no truth."""
    nouns, verbs = (
        [texts[k] if k < len(texts) else "" for k in range(count)] for texts in (words.concepts, words.motions)
    )
    void = numbers == VOID
    return still_moving(nouns, verbs, np.stack([numbers == k + 1 for k in range(count)]), void if void.any() else None)
