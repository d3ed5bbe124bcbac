"""MeViS, versions 1 and 2: motion expressions, each of any number of objects, with masks as COCO's RLE.

    <root>/<split>/JPEGImages/<video>/00000.jpg ...
    <root>/<split>/meta_expressions.json      or meta_expressions_v2.json
    <root>/<split>/mask_dict.json             of train and valid_u only

Version 2 adds expressions that no object fits: `anno_id` is an empty list, and the truth is empty too.
The data set states no frame rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError, brief
from imap.evaluation.datasets.entry import Entry, Options, picture_clip, split_of, still_moving, times_at
from imap.evaluation.datasets.words import Words, normal, read_json, things, words_of
from imap.media.truth import Truth

META = ("meta_expressions_v2.json", "meta_expressions.json")
DEFAULT = "valid_u"


def entries(root: Path, options: Options) -> Iterator[Entry]:
    """An entry per expression. Its objects are those of `anno_id`; the union is the truth of its words."""
    found = [path.parent.name for path in root.glob("*/JPEGImages") if path.is_dir()]
    if not found:
        raise ImapError(f"{root} is not a root of MeViS: expected <split>/JPEGImages, as in valid_u/JPEGImages")
    folder = root / split_of(options, found, DEFAULT, root)
    meta = next((folder / name for name in META if (folder / name).is_file()), folder / META[1])
    videos = read_json(meta, "expressions of MeViS")
    videos = videos.get("videos") if isinstance(videos, dict) else None
    if not isinstance(videos, dict):
        raise ImapError(f"{meta} has no object videos; expected the expressions of MeViS")
    has_masks = (folder / "mask_dict.json").is_file()
    masks = read_json(folder / "mask_dict.json", "masks of MeViS") if has_masks else None
    every = _entries(folder, videos, masks, options)
    listed = [name for name in options.words if name.rpartition("_")[0] in videos]
    return _of_list(listed, every, options.words) if listed else every


def _of_list(names: Sequence[str], every: Iterator[Entry], words: Mapping[str, Words]) -> Iterator[Entry]:
    """Entries of a list as the release has it, which names a clip <video>_<number>.

    Its captions are written anew for most clips. Where one is an expression of its video, the truth is that of the
    expression; elsewhere nobody knows which objects are meant, and there is none.
    """
    by_video: dict[str, list[Entry]] = {}
    for entry in every:
        by_video.setdefault(entry.facts["video"], []).append(entry)
    for name in names:
        of_video = by_video[name.rpartition("_")[0]]
        caption = normal(words[name].caption)
        same = next((one for one in of_video if normal(one.facts["text"]) == caption), None)
        record = same.facts if same else {"video": of_video[0].facts["video"]}
        yield Entry(name, words[name], of_video[0].clip, same.truth if same else None, facts=record)


def _entries(
    folder: Path, videos: Mapping[str, Any], masks: Mapping[str, Any] | None, options: Options
) -> Iterator[Entry]:
    for video, facts in videos.items():
        try:
            frames, expressions = list(facts["frames"]), {key: (x["exp"], x) for key, x in facts["expressions"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ImapError(f"video {video} of {folder} needs frames and expressions; found {brief(facts)}") from None
        paths = [folder / "JPEGImages" / video / f"{frame}.jpg" for frame in frames]
        clip = partial(picture_clip, paths, times_at(len(paths), options.source_fps))
        for number, (text, expression) in expressions.items():
            name = f"{video}-{number}"
            words = words_of(text, name, options.words, "motion")
            numbers = [str(x) for x in expression.get("anno_id") or ()]
            record = {"video": video, "expression": number, "text": text, "annotations": numbers}
            runs = None if masks is None else _runs(masks, numbers, len(frames), folder)
            truth = None if runs is None else partial(_truth, runs, words, clip)
            yield Entry(name, words, clip, truth, facts=record | {"no_target": masks is not None and not numbers})


def _runs(masks: Mapping[str, Any], numbers: Sequence[str], frames: int, folder: Path) -> list[list[Any]]:
    """RLE of each object, one per frame and None where it is not seen."""
    runs = []
    for number in numbers:
        if number not in masks:
            raise ImapError(f"{folder / 'mask_dict.json'} has no masks of the annotation {number}; download it again")
        if len(masks[number]) != frames:
            raise ImapError(
                f"{folder / 'mask_dict.json'}: annotation {number} has {len(masks[number])} masks, and its video has "
                f"{frames} frames; download both again"
            )
        runs.append(masks[number])
    return runs


def _truth(runs: Sequence[Sequence[Any]], words: Words, clip: Any, taken: Sequence[int]) -> Truth:
    size = clip().shape[1:3]
    decoded = [np.stack([_mask(one[i], size) for i in taken]) for one in runs]
    if not decoded:  # of no object: the words are there, and nothing in the clip is meant by them
        decoded = [np.zeros((len(taken), *size), bool)]
    nouns, verbs, numbers = things(words, len(decoded))
    return still_moving(nouns, verbs, np.stack([decoded[k] for k in numbers]))


def _mask(run: Any, size: tuple[int, int]) -> np.ndarray:
    """A mask (height, width) from COCO's RLE; empty for None."""
    if run is None:
        return np.zeros(size, bool)
    try:
        from pycocotools import mask
    except ImportError:
        raise ImapError('masks of MeViS need pycocotools; install it with pip install "imap-video[eval]"') from None
    if tuple(run["size"]) != size:
        raise ImapError(f"a mask of {'x'.join(map(str, run['size']))} in frames of {'x'.join(map(str, size))}")
    return np.asarray(mask.decode(run)).astype(bool)
