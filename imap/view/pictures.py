"""All pictures of one sample, written into its folder as a whole."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from imap.errors import ImapError
from imap.results import VIEW, write_folder
from imap.videos import write_video
from imap.view import strip as strips
from imap.view.normalization import KINDS, Normalized, normalize
from imap.view.overlay import coloured, enlarged, overlay, side_by_side, write_gif
from imap.view.sample import Shown
from imap.view.upsampling import SPACE, upsample

FACTS = "view.json"
SUFFIXES = (".mp4", ".gif", ".png", ".pdf", ".json", ".html", ".part")  # of all that pictures and reports write
BESIDE = "-side-by-side"
COLORMAPS = ("inferno", "magma", "viridis", "plasma", "cividis")  # perceptually uniform


@dataclass(frozen=True)
class Look:
    """How maps are shown. key: of the maps; auto is IMAP for motion words and GramCol for things."""

    key: str = "auto"
    normalization: str = "video"
    colormap: str = "inferno"
    opacity: float = 0.8
    space: str = "bilinear"
    gif: bool = False

    def __post_init__(self) -> None:
        for name, known in (("normalization", KINDS), ("colormap", COLORMAPS), ("space", SPACE)):
            if getattr(self, name) not in known:
                raise ImapError(f"{name}={getattr(self, name)!r} is not known; it can be {', '.join(known)}")
        if not 0 <= self.opacity <= 1:
            raise ImapError(f"opacity={self.opacity} is not between 0 and 1")


def write_pictures(shown: Shown, look: Look) -> Path:
    """Write view/ into a sample's folder: an overlay and a side-by-side video per text, the strip, and view.json."""
    rows = [_row(shown, text, look) for text in shown.maps.texts]
    names = file_names(shown.maps.texts)

    def write(folder: Path) -> None:
        told = {}
        for (text, key, x, own), name in zip(rows, names, strict=True):
            frames, height, width = shown.frames.shape[:3]
            large = upsample(x, frames, height, width, look.space)
            video = overlay(shown.frames, large, look.colormap, look.opacity)
            both = side_by_side([enlarged(part) for part in (shown.frames, video, coloured(large, look.colormap))])
            write_video(folder / f"{name}.mp4", enlarged(video), shown.fps)
            write_video(folder / f"{name}{BESIDE}.mp4", both, shown.fps)
            if look.gif:
                write_gif(enlarged(video), str(folder / f"{name}.gif"), shown.fps)
            files = [f"{name}.mp4", f"{name}{BESIDE}.mp4", *([f"{name}.gif"] if look.gif else [])]
            told[text] = {"key": key, "files": files, **own.recorded()}
        figure = strips.strip(
            shown, [(text, key, x, _limits(own)) for text, key, x, own in rows], look.colormap, look.opacity, look.space
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
