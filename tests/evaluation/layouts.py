"""Tiny data sets in their exact layouts. All show the same clip: a square that moves right, and a bar that stays.

The background of frame i has the grey level 20 + 10 i, so that a frame of a video says which one it is.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

FRAMES, HEIGHT, WIDTH = 13, 32, 48
SQUARE, BAR = 1, 2  # labels


def square() -> np.ndarray:
    """Booleans (frames, height, width): 10x10, two columns further in every frame."""
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for i in range(FRAMES):
        masks[i, 4:14, 4 + 2 * i : 14 + 2 * i] = True
    return masks


def bar() -> np.ndarray:
    """Booleans (frames, height, width): rows 22 to 27 of all columns, hidden in the first frame."""
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    masks[1:, 22:28] = True
    return masks


def labelled(square_label: int = SQUARE, bar_label: int = BAR, void: int | None = None) -> np.ndarray:
    """Labels (frames, height, width); `void` is the label of the last row."""
    numbers = np.where(square(), square_label, np.where(bar(), bar_label, 0)).astype(np.uint8)
    if void is not None:
        numbers[:, -1] = void
    return numbers


def video() -> np.ndarray:
    """Frames, uint8 (frames, height, width, 3)."""
    grey = np.broadcast_to((20 + 10 * np.arange(FRAMES))[:, None, None], (FRAMES, HEIGHT, WIDTH)).copy()
    grey[square()] = 230
    grey[bar()] = 180
    return grey.astype(np.uint8)[..., None].repeat(3, axis=-1)


def numbers_of(frames: np.ndarray) -> list[int]:
    """Which frames of `video` these are: by the level of the upper right corner."""
    return [round((frame[0, -4:].mean() - 20) / 10) for frame in frames]


def write_frames(folder: Path, names: list[str], suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True)
    for name, frame in zip(names, video(), strict=True):
        Image.fromarray(frame).save(folder / f"{name}{suffix}", quality=98)


def write_labels(folder: Path, names: list[str], numbers: np.ndarray, palette: bool = True) -> None:
    folder.mkdir(parents=True)
    for name, number in zip(names, numbers, strict=True):
        picture = Image.fromarray(number)
        if palette:
            picture = picture.convert("P")
            picture.putdata(number.ravel().tolist())
            picture.putpalette([*range(256)] * 3)  # a palette of less than 256 colours is stored in fewer bits
        picture.save(folder / f"{name}.png")


def rle(masks: np.ndarray) -> list[dict | None]:
    from pycocotools import mask

    runs = [mask.encode(np.asfortranarray(one.astype(np.uint8))) if one.any() else None for one in masks]
    return [run and {"size": run["size"], "counts": run["counts"].decode()} for run in runs]


def mevis(root: Path, meta: str = "meta_expressions.json") -> Path:
    names = [f"{i:05}" for i in range(FRAMES)]
    for split in ("valid_u", "valid"):
        folder = root / split
        write_frames(folder / "JPEGImages" / "0a1b", names)
        expressions = {
            "0": {"exp": "A square moving right, then on", "obj_id": [0], "anno_id": [7]},
            "1": {"exp": "both things", "obj_id": [0, 1], "anno_id": [7, 8]},
            "2": {"exp": "a cat that jumps", "obj_id": [], "anno_id": []},
        }
        if split == "valid":
            expressions = {key: {"exp": one["exp"]} for key, one in expressions.items()}
        facts = {"videos": {"0a1b": {"expressions": expressions, "vid_id": 0, "frames": names}}}
        (folder / meta).write_text(json.dumps(facts))
    masks = {"7": rle(square()), "8": rle(bar())}
    (root / "valid_u" / "mask_dict.json").write_text(json.dumps(masks))
    return root


def vspw(root: Path) -> Path:
    names = [f"{i:08}" for i in range(3, 3 + FRAMES)]
    write_frames(root / "data" / "12_ab" / "origin", names)
    write_labels(root / "data" / "12_ab" / "mask", names, labelled(21, 3, void=255), palette=False)
    classes = {"others": "0", "wall": "1", "door": "3", "traffic_light": "21"}
    (root / "label_num_dic_final.json").write_text(json.dumps(classes))
    (root / "val.txt").write_text("12_ab\n")
    (root / "train.txt").write_text("")
    return root


def davis(root: Path) -> Path:
    names = [f"{i:05}" for i in range(FRAMES)]
    for sequence in ("bike-packing", "goat"):
        write_frames(root / "JPEGImages/480p" / sequence, names)
        write_labels(root / "Annotations/480p" / sequence, names, labelled())
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("bike-packing\n")
    (root / "ImageSets/2017/train.txt").write_text("goat\n")
    return root


def ref_davis(root: Path) -> Path:
    davis(root)
    folder = root / "davis_text_annotations"
    folder.mkdir()
    first = 'bike-packing 1 "a square, moving"\nbike-packing 2 "a bar below"\ngoat 1 "a goat"\n'
    (folder / "Davis17_annot1_full_video.txt").write_text(first)
    (folder / "Davis17_annot2_full_video.txt").write_bytes('bike-packing 1 "a café square"\n'.encode("latin-1"))
    return root


def ref_youtube_vos(root: Path) -> Path:
    names = [f"{i:05}" for i in range(10, 10 + 5 * FRAMES, 5)]
    expressions = {"0": {"exp": "a square above", "obj_id": "1"}}
    for split in ("train", "valid"):
        write_frames(root / split / "JPEGImages" / "003", names)
        if split == "valid":
            expressions = {"0": {"exp": "a square above"}}
        else:
            write_labels(root / split / "Annotations" / "003", names, labelled())
        (root / "meta_expressions" / split).mkdir(parents=True)
        facts = {"videos": {"003": {"expressions": expressions, "frames": names}}}
        (root / "meta_expressions" / split / "meta_expressions.json").write_text(json.dumps(facts))
    return root


def folder(root: Path) -> Path:
    from imap.media.video_io import write_video

    root.mkdir(exist_ok=True)
    write_video(root / "mine.mp4", video(), 6)
    write_labels(root / "mine", [f"{i:04}" for i in range(FRAMES)], labelled(void=255))
    one = {"caption": "A box slides.", "concepts": "box, shelf", "object": "slides", "video_path": "mine.mp4"}
    (root / "clips.json").write_text(json.dumps([one]))
    return root
