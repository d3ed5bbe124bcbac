"""All pictures of one sample, written into its folder as a whole."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from imap.atomic import write_folder
from imap.map_files import VIEW
from imap.media.video_io import write_video
from imap.view import strip as strips
from imap.view.coco import FILE as MASKS_FILE
from imap.view.coco import FOLDER as MASKS
from imap.view.coco import write_masks
from imap.view.look import Look
from imap.view.masks import masked, video_size
from imap.view.moving import gif
from imap.view.normalization import Normalized, normalize_text
from imap.view.overview import PANEL, Word, overview
from imap.view.sample import Shown

FACTS = "view.json"
SUFFIXES = (".mp4", ".gif", ".png", ".pdf", ".json", ".html", ".csv", ".part")  # of all that pictures and reports write
OVERVIEW = "overview"
WORD_PANEL = 400  # pixels of width, in the video of one word
PRESET = "veryfast"  # of x264: a fifth of the time of its default, and files of the same size


def write_pictures(shown: Shown, look: Look) -> Path:
    """Write view/ into a sample's folder: the overview, a video per text, the strip, and view.json."""
    shown = shown if look.truth else replace(shown, truth={})
    rows = [row_of(shown, text, look) for text in shown.maps.texts]
    names = file_names(shown.maps.texts)

    def write(folder: Path) -> None:
        records = {}
        bar = tqdm(rows, f"pictures of {shown.folder.name}", unit="word", leave=False, disable=None)  # on terminals
        for row, name in zip(bar, names, strict=True):
            text, key, _, normalized = row
            files = _write_moving(folder / name, shown, [row[:3]], look, WORD_PANEL, look.gif)
            records[text] = {"key": key, "files": files, **normalized.recorded()}
        if look.masks:
            _write_masks(
                folder / MASKS, shown, [(row[0], row[1], name) for row, name in zip(rows, names, strict=True)], look
            )
        _write_moving(folder / OVERVIEW, shown, [row[:3] for row in rows], look, PANEL, True)
        figure = strips.strip(
            shown,
            [(text, key, x, limits_of(normalized)) for text, key, x, normalized in rows],
            look.colormap,
            look.opacity,
            look.space,
            look.columns,
        )
        for suffix in ("png", "pdf"):
            strips.save(figure, folder / f"strip.{suffix}")
        (folder / FACTS).write_text(
            json.dumps({"look": asdict(look), "texts": records}, indent=1) + "\n", encoding="utf-8"
        )

    return write_folder(shown.folder / VIEW, write, replaces=_own_files(shown.folder / VIEW))


def _write_moving(path: Path, shown: Shown, words: Sequence[Word], look: Look, panel: int, with_gif: bool) -> list[str]:
    """Write path.mp4, and path.gif if wanted: the video and maps of words, side by side. Returns their names."""
    frames = list(overview(shown, words, look, panel))
    files = [f"{path.name}.mp4", *([f"{path.name}.gif"] if with_gif else [])]
    write_video(path.with_name(files[0]), frames, shown.times, PRESET)
    if with_gif:
        path.with_name(files[1]).write_bytes(gif(frames, shown.times, look.colormap))
    return files


def row_of(shown: Shown, text: str, look: Look) -> tuple[str, str, np.ndarray, Normalized]:
    """Text, key, its map in [0, 1], and the values that 0 and 1 represent. Raises ImapError for an unknown key."""
    key = shown.default_key(text) if look.key == "auto" else shown.maps.key_of(text, look.key)
    normalized = normalize_text(shown.maps[key], shown.maps.texts.index(text), look.normalization)
    return (text, key, normalized.values[0], normalized)


def _write_masks(folder: Path, shown: Shown, words: Sequence[tuple[str, str, str]], look: Look) -> None:
    """Write masks/: those of every word, each (text, key, name of its folder)."""
    known = not shown.has_video and "pixels" in shown.maps.facts
    size = video_size(shown.maps) if known else shown.frames.shape[:3]
    record = {"threshold": look.mask_threshold, "normalization": look.normalization, "space": look.space}
    cut = ((*word, masked(shown.maps, *word[:2], look.mask_threshold, size, look)) for word in words)
    folder.mkdir()
    write_masks(folder, shown, cut, record)


def limits_of(normalized: Normalized) -> tuple[float, float] | None:
    """The scale's ends as numbers, if one pair holds for the whole row."""
    low, high = normalized.limits[0, 0].tolist()
    return None if normalized.kind == "frame" else (low, high)


def file_names(texts: Sequence[str]) -> list[str]:
    """First part of each text's file names. Similar texts, such as c and c++, are numbered."""
    names, taken = [], {OVERVIEW}
    for text in texts:
        slug = "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")[:60] or "text"
        tried = (slug if number == 1 else f"{slug}-{number}" for number in count(1))
        name = next(name for name in tried if name not in taken)
        taken.add(name)
        names.append(name)
    return names


def _own_files(folder: Path) -> list[str]:
    """Files of earlier pictures, which are all replaced."""
    if not folder.is_dir():
        return []
    masks = [MASKS] if (folder / MASKS / MASKS_FILE).is_file() else []
    return masks + [path.name for path in folder.iterdir() if path.suffix in SUFFIXES]
