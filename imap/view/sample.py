"""One finished sample of a run folder, as pictures need it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError
from imap.results import LAYOUT, META, VIDEO, Maps, layout_of, read_meta
from imap.videos import read_video

log = logging.getLogger("imap")
KEY_NAMES = {  # of maps in words, in the order of the page
    "sel_imap_layers": "IMAP",
    "imap_layers": "GramCol",
    "cross_attention_maps_layers": "cross attention",
    "concept_attention_maps_layers": "ConceptAttention",
}
KEY_NAMES |= {key.removesuffix("_layers"): f"{name}, maps_layers" for key, name in KEY_NAMES.items()}


class Problems(dict[Path, str]):
    """Why samples cannot be shown, in one line each, by folder."""

    @contextmanager
    def kept(self, folder: Path, what: str) -> Iterator[None]:
        """Note and log a failure inside, so that the other samples go on. what: is missing now."""
        try:
            yield
        except Exception as error:  # those of decoders and of matplotlib have no common class
            self[folder] = one_line(error)
            log.error("%s: no %s: %s", folder, what, self[folder])


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

    def keys(self, complete: bool) -> list[str]:
        """Keys of the maps that there are, in the order of KEY_NAMES; unless complete, of those over the chosen layers
        alone, if there are any."""
        known = [key for key in KEY_NAMES if key in self.maps]
        chosen = [key for key in known if key.endswith("_layers")]
        return chosen if chosen and not complete else [*known, *(key for key in self.maps if key not in known)]


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
        raise ImapError(f"{folder} holds no finished sample: there is no readable {META}")
    if not (folder / VIDEO).is_file():
        raise ImapError(f"{folder} has no {VIDEO}; only folders that a run has written can be shown")
    return Shown(folder, read_video(folder / VIDEO), int(meta.get("fps", 8)), Maps.load(folder), meta)


def samples_in(folder: Path) -> list[Path]:
    """Folders of the finished samples of a run folder, or the folder itself where it is one. ImapError for none."""
    if (folder / META).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{META}") if not path.parent.name.startswith("."))
    if not found:
        raise ImapError(f"{folder} holds no finished samples; give the output_dir of a run, or a sample's folder")
    return found
