"""All pictures of one sample, written into its folder as a whole."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from imap.atomic import write_folder
from imap.errors import ImapError
from imap.map_files import VIEW
from imap.media.video_io import write_video
from imap.view import strip as strips
from imap.view.look import Look
from imap.view.moving import beside, narrowed, over, write_gif
from imap.view.normalization import Normalized, normalize
from imap.view.sample import Shown

FACTS = "view.json"
SUFFIXES = (".mp4", ".gif", ".png", ".pdf", ".json", ".html", ".part")  # of all that pictures and reports write
BESIDE = "-side-by-side"
PRESET = "veryfast"  # of x264: a fifth of the time of its default, and files of the same size


def write_pictures(shown: Shown, look: Look) -> Path:
    """Write view/ into a sample's folder: an overlay and a side-by-side video per text, the strip, and view.json."""
    rows = [_row(shown, text, look) for text in shown.maps.texts]
    names, narrow = file_names(shown.maps.texts), narrowed(shown.frames)

    def write(folder: Path) -> None:
        records = {}
        bar = tqdm(rows, f"pictures of {shown.folder.name}", unit="word", leave=False, disable=None)  # on terminals
        for (text, key, x, normalized), name in zip(bar, names, strict=True):
            files = [f"{name}.mp4"]
            write_video(folder / files[0], over(shown.frames, x, look, shown.has_video), shown.times, PRESET)
            if shown.has_video:
                files.append(f"{name}{BESIDE}.mp4")
                write_video(folder / files[-1], beside(narrow, x, look), shown.times, PRESET)
            if look.gif:
                files.append(f"{name}.gif")
                write_gif(over(shown.frames, x, look, shown.has_video), str(folder / files[-1]), shown.times)
            records[text] = {"key": key, "files": files, **normalized.recorded()}
        figure = strips.strip(
            shown,
            [(text, key, x, _limits(normalized)) for text, key, x, normalized in rows],
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


def _row(shown: Shown, text: str, look: Look) -> tuple[str, str, np.ndarray, Normalized]:
    """Text, key, its map in [0, 1], and the values that 0 and 1 represent."""
    key = shown.default_key(text) if look.key == "auto" else shown.maps.key_of(text, look.key)
    if key not in shown.maps:
        raise ImapError(f"{shown.folder} has no maps {key!r}; there are {', '.join(shown.maps)}")
    index = shown.maps.texts.index(text)
    shared = look.normalization == "shared"
    normalized = normalize(shown.maps[key] if shared else shown.maps[key][index : index + 1], look.normalization)
    row = slice(index, index + 1) if shared else slice(1)
    values, limits = normalized.values[row], normalized.limits[row]
    return (text, key, values[0], Normalized(normalized.kind, values, limits))


def _limits(normalized: Normalized) -> tuple[float, float] | None:
    """The scale's ends as numbers, if one pair holds for the whole row."""
    low, high = normalized.limits[0, 0].tolist()
    return None if normalized.kind == "frame" else (low, high)


def file_names(texts: Sequence[str]) -> list[str]:
    """First part of each text's file names. Similar texts, such as c and c++, are numbered."""
    names, taken = [], set()
    for text in texts:
        slug = "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")[:60] or "text"
        tried = (slug if number == 1 else f"{slug}-{number}" for number in count(1))
        name = next(name for name in tried if taken.isdisjoint((name, name + BESIDE)))
        taken |= {name, name + BESIDE}
        names.append(name)
    return names


def _own_files(folder: Path) -> list[str]:
    """Files of earlier pictures, which are all replaced."""
    return [path.name for path in folder.iterdir() if path.suffix in SUFFIXES] if folder.is_dir() else []
