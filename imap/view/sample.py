"""One finished sample of a run folder, as pictures need it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError
from imap.media.video_io import read_video
from imap.saliency import AGAIN, LAYOUT, META, VIDEO, Maps, layout_of, read_meta

log = logging.getLogger("imap")
KEY_NAMES = {  # of maps in words, in the order of the page
    "sel_imap_layers": "IMAP",
    "imap_layers": "GramCol",
    "cross_attention_maps_layers": "cross attention",
    "concept_attention_maps_layers": "ConceptAttention",
}
KEY_NAMES |= {key.removesuffix("_layers"): f"{name}, all layers" for key, name in KEY_NAMES.items()}  # of maps_layers


class Problems(dict[Path, str]):
    """Why samples cannot be shown, in one line each, by folder."""

    @contextmanager
    def kept(self, folder: Path, what: str) -> Iterator[None]:
        """Note a failure inside, so that the other samples go on, and log it unless it is known. what: is missing
        now."""
        try:
            yield
        except Exception as error:  # those of decoders and of matplotlib have no common class
            known, self[folder] = self.get(folder), one_line(error)
            if self[folder] != known:
                log.error("%s: no %s: %s", folder.name, what, self[folder])


def one_line(error: Exception) -> str:
    """An error as a person reads it: with its name, unless it was written to be read."""
    if isinstance(error, ImapError | OSError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")


@dataclass(frozen=True)
class Shown:
    """frames: the video, uint8 (frames, height, width, 3). meta: the sample's meta.json."""

    folder: Path
    frames: np.ndarray
    fps: int
    maps: Maps
    meta: Mapping[str, Any]

    @property
    def caption(self) -> str:
        return self.meta.get("request", {}).get("sample", {}).get("prompt", self.folder.name)

    def default_key(self, text: str) -> str:
        """IMAP for a motion word, GramCol for a thing."""
        return "sel_imap_layers" if text in self.maps.motions else "imap_layers"

    def keys(self, complete: bool, asked: str = "") -> list[str]:
        """Keys of the maps that there are, in the order of KEY_NAMES; unless complete, only of those over the chosen
        layers, if there are any, and the one that is asked for."""
        known = [key for key in KEY_NAMES if key in self.maps]
        present = [*known, *(key for key in self.maps if key not in known)]
        chosen = [key for key in present if (key in known and key.endswith("_layers")) or key == asked]
        return chosen if chosen and not complete else present


def open_sample(folder: Path) -> Shown:
    """A sample's folder. Raises ImapError where it is not one, or of a layout that is not this version's."""
    meta = read_meta(folder)
    if meta is None:
        found = layout_of(folder)
        if found is not None:
            raise ImapError(
                f"{folder} is of layout {found}, and this version shows layout {LAYOUT}; run the sample again, or show "
                "it with the version that wrote it"
            )
        raise ImapError(f"{folder} holds no finished sample: there is no readable {META}; {AGAIN}")
    if not (folder / VIDEO).is_file():
        raise ImapError(f"{folder} has no {VIDEO}; only folders that a run has written can be shown")
    maps = Maps.load(folder)
    try:
        frames = read_video(folder / VIDEO)
    except ValueError as error:
        raise ImapError(f"{folder / VIDEO} cannot be decoded as a video ({error}); {AGAIN}") from None
    return Shown(folder, frames, int(meta.get("fps", 8)), maps, meta)


def samples_in(folder: Path) -> list[Path]:
    """Folders of the finished samples of a run folder, or the folder itself where it is one. ImapError for none."""
    if not folder.is_dir():
        raise ImapError(f"there is no folder {folder.absolute()}; give the output_dir of a run, or a sample's folder")
    if (folder / META).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{META}") if not path.parent.name.startswith("."))
    if not found:
        raise ImapError(f"{folder} holds no finished samples; give the output_dir of a run, or a sample's folder")
    return found
