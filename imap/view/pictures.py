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
from imap.media.video_io import write_video
from imap.saliency import VIEW
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
        told = {}
        bar = tqdm(rows, f"pictures of {shown.folder.name}", unit="word", leave=False, disable=None)  # on terminals
        for (text, key, x, own), name in zip(bar, names, strict=True):
            write_video(folder / f"{name}.mp4", over(shown.frames, x, look), shown.fps, PRESET)
            write_video(folder / f"{name}{BESIDE}.mp4", beside(narrow, x, look), shown.fps, PRESET)
            if look.gif:
                write_gif(over(shown.frames, x, look), str(folder / f"{name}.gif"), shown.fps)
            files = [f"{name}.mp4", f"{name}{BESIDE}.mp4", *([f"{name}.gif"] if look.gif else [])]
            told[text] = {"key": key, "files": files, **own.recorded()}
        figure = strips.strip(
            shown,
            [(text, key, x, _limits(own)) for text, key, x, own in rows],
            look.colormap,
            look.opacity,
            look.space,
            look.columns,
        )
        for suffix in ("png", "pdf"):
            strips.save(figure, folder / f"strip.{suffix}")
        (folder / FACTS).write_text(
            json.dumps({"look": asdict(look), "texts": told}, indent=1) + "\n", encoding="utf-8"
        )

    return write_folder(shown.folder / VIEW, write, replaces=_own_files(shown.folder / VIEW))


def _row(shown: Shown, text: str, look: Look) -> tuple[str, str, np.ndarray, Normalized]:
    """Text, key, its map in [0, 1], and what 0 and 1 stand for."""
    key = shown.default_key(text) if look.key == "auto" else look.key
    if key not in shown.maps:
        raise ImapError(f"{shown.folder} has no maps {key!r}; there are {', '.join(shown.maps)}")
    index = shown.maps.texts.index(text)
    maps = shown.maps[key] if look.normalization == "shared" else shown.maps[key][index : index + 1]
    found = normalize(maps, look.normalization)
    own = index if look.normalization == "shared" else 0
    return (
        text,
        key,
        found.values[own],
        Normalized(found.kind, found.values[own : own + 1], found.limits[own : own + 1]),
    )


def _limits(own: Normalized) -> tuple[float, float] | None:
    """The scale's ends as numbers, where one pair holds for the whole row."""
    return None if own.kind == "frame" else tuple(own.limits[0, 0].tolist())


def file_names(texts: Sequence[str]) -> list[str]:
    """What the files of each text begin with: texts that are alike, as c and c++, are numbered."""
    names, taken = [], set()
    for text in texts:
        slug = "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")[:60] or "text"
        tried = (slug if number == 1 else f"{slug}-{number}" for number in count(1))
        name = next(name for name in tried if taken.isdisjoint((name, name + BESIDE)))
        taken |= {name, name + BESIDE}
        names.append(name)
    return names


def _own_files(folder: Path) -> list[str]:
    """What earlier pictures have left, all of which is replaced."""
    return [path.name for path in folder.iterdir() if path.suffix in SUFFIXES] if folder.is_dir() else []
