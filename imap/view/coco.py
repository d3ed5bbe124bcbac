"""Masks as files: a PNG per video frame, and one JSON in COCO's format of annotations, with compressed RLE."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imap.view.masks import Masked
from imap.view.normalization import six_digits
from imap.view.sample import Shown

Word = tuple[str, str, str, Masked]  # text, key of its map, name of its folder, masks
FOLDER, FILE = "masks", "masks.json"


def rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length encoding of a mask (height, width), as pycocotools writes it."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))  # where a run ends; zeros come first
    runs = np.diff(edges, prepend=0).tolist()
    return {"size": list(mask.shape), "counts": "".join(_letters(runs, i) for i in range(len(runs)))}


def _letters(runs: Sequence[int], i: int) -> str:
    """A run as letters of five bits, lowest first; from the fourth on, its difference to the run two before."""
    x, letters = runs[i] - (runs[i - 2] if i > 2 else 0), ""
    while True:
        bits, x = x & 31, x >> 5
        is_last = x == (-1 if bits & 16 else 0)  # the highest bit of the last letter is the sign
        letters += chr(48 + bits + (0 if is_last else 32))
        if is_last:
            return letters


def write_masks(folder: Path, shown: Shown, words: Iterable[Word], record: Mapping[str, Any]) -> None:
    """Write <name>/0000.png ... of every word, and masks.json.

    Args:
        folder: where to; it exists.
        shown: the sample.
        words: text, key of its map, name of its folder, masks. One at a time is in memory.
        record: how they were cut, for `info`.
    """

    def written() -> Iterator[Word]:
        for word in words:
            _, _, name, masked = word
            (folder / name).mkdir()
            for number, mask in enumerate(masked.masks):
                Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name / file_name(number))
            yield word

    text = json.dumps(annotations(shown, written(), record), ensure_ascii=False, allow_nan=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def file_name(frame: int) -> str:
    """Name of a frame's PNG."""
    return f"{frame:04d}.png"


def annotations(shown: Shown, words: Iterable[Word], record: Mapping[str, Any]) -> dict[str, Any]:
    """COCO's images, annotations and categories. A frame without a pixel of a word has no annotation of it."""
    categories, found, size = [], [], (0, 0, 0)
    for category, (text, key, name, masked) in enumerate(words, 1):
        size = masked.masks.shape
        values = None if masked.values is None else six_digits(np.array(masked.values))
        kind = "motion" if text in shown.maps.motions else "concept"
        one = {"id": category, "name": text, "supercategory": kind, "folder": name, "key": key, "values": values}
        categories.append(one)
        for frame, pixels in enumerate(masked.masks):
            if pixels.any():
                head = {"id": len(found) + 1, "image_id": frame + 1, "category_id": category, "frame": frame}
                area = {"area": int(pixels.sum()), "bbox": _box(pixels), "iscrowd": 0, "segmentation": rle(pixels)}
                found.append(head | area | {"key": key, "threshold": record["threshold"]})
    frames, height, width = size
    images = [
        {
            "id": frame + 1,
            "file_name": file_name(frame),
            "width": width,
            "height": height,
            "frame": frame,
            "seconds": round(float(shown.times[frame]), 4),
        }
        for frame in range(frames)
    ]
    info = {"description": shown.caption, "notes": shown.notes, **record}
    return {"info": info, "images": images, "annotations": found, "categories": categories}


def _box(mask: np.ndarray) -> list[int]:
    """x, y, width and height of the smallest box around a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
