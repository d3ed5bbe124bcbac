"""A finished sample of a run folder, as pictures need it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError, one_line
from imap.map_files import AGAIN, LAYOUT, META, VIDEO, layout_of, read_meta
from imap.media.video_io import read_video
from imap.methods.registry import CHOSEN, EFFECT
from imap.saliency import Maps
from imap.view.upsampling import TEMPORAL

log = logging.getLogger("imap")
BLANK = 240  # pixels, at least, of the longer side of maps that are drawn without a video


class Problems(dict[Path, str]):
    """Why samples cannot be shown, one line per folder."""

    @contextmanager
    def kept(self, folder: Path, what: str) -> Iterator[None]:
        """Record a failure inside, so that other samples continue. Logs it once. what: what is missing now."""
        try:
            yield
        except Exception as error:  # those of decoders and of matplotlib have no common class
            logged, self[folder] = self.get(folder), one_line(error)
            if self[folder] != logged:
                log.error("%s: no %s: %s", folder.name, what, self[folder])


@dataclass(frozen=True)
class Shown:
    """A sample as pictures need it.

    Attributes:
        folder: of the sample.
        frames: uint8 (frames, height, width, 3), the video, or black frames without one.
        fps: frames per second.
        maps: the maps.
        meta: the sample's meta.json.
        has_video: False if only the maps are known.
    """

    folder: Path
    frames: np.ndarray
    fps: int
    maps: Maps
    meta: Mapping[str, Any]
    has_video: bool = True

    @property
    def caption(self) -> str:
        """The prompt, or the folder's name."""
        prompt = self.meta.get("request", {}).get("sample", {}).get("prompt") or self.meta.get("prompt")
        return self.folder.name if prompt is None else prompt

    @property
    def notes(self) -> list[str]:
        """What readers of the maps must know."""
        return [str(note) for note in self.meta.get("notes", ())]

    def default_key(self, text: str) -> str:
        """IMAP of a motion word, GramCol of a concept."""
        return self.maps.key_of(text)

    def keys(self, complete: bool, wanted: str = "") -> list[str]:
        """Keys of the maps in the order of the registry.

        Unless `complete`, only those over the chosen layers, if there are any, and the key `wanted`.
        """
        present = list(self.maps.names)
        kept = {wanted, *(self.default_key(text) for text in self.maps.texts)}
        chosen = [key for key in present if key.endswith(CHOSEN) or key == EFFECT or key in kept]
        return chosen if chosen and not complete else present


def blank_frames(maps: Maps) -> np.ndarray:
    """Black frames for maps without a video, uint8: whole multiples of the grid, four frames per latent frame."""
    _, latent_frames, height, width = next(iter(maps.arrays.values())).shape
    scale = max(8, -(-BLANK // max(height, width)))
    return np.zeros((TEMPORAL * (latent_frames - 1) + 1, height * scale, width * scale, 3), np.uint8)


def open_sample(folder: Path) -> Shown:
    """A sample's folder. Raises ImapError for another folder, a damaged one, or another layout."""
    meta = read_meta(folder)
    if meta is None:
        layout = layout_of(folder)
        if layout is not None:
            raise ImapError(
                f"{folder} is of layout {layout}, and this version shows layout {LAYOUT}; run the sample again, or "
                "show it with the version that wrote it"
            )
        raise ImapError(f"{folder} holds no finished sample: there is no readable {META}; {AGAIN}")
    maps = Maps.load(folder)
    fps = int(meta.get("fps", 8))
    if not (folder / VIDEO).is_file():
        if "fps" in meta:  # it was written with a video
            raise ImapError(f"{folder} has no {VIDEO}; {AGAIN}")
        return Shown(folder, blank_frames(maps), fps, maps, meta, has_video=False)
    try:
        frames = read_video(folder / VIDEO)
    except ValueError as error:
        raise ImapError(f"{folder / VIDEO} cannot be decoded as a video ({error}); {AGAIN}") from None
    return Shown(folder, frames, fps, maps, meta)


def samples_in(folder: Path) -> list[Path]:
    """Folders of the finished samples of a run, or the folder itself if it is a sample. ImapError for none."""
    if not folder.is_dir():
        raise ImapError(f"there is no folder {folder.absolute()}; give the output_dir of a run, or a sample's folder")
    if (folder / META).is_file():
        return [folder]
    samples = sorted(path.parent for path in folder.glob(f"*/{META}") if not path.parent.name.startswith("."))
    if not samples:
        raise ImapError(f"{folder} holds no finished samples; give the output_dir of a run, or a sample's folder")
    return samples
