"""A finished sample of a run folder, as pictures need it."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imap.errors import ImapError, one_line
from imap.map_files import AGAIN, LAYOUT, META, VIDEO, damaged, layout_of, load_truth, read_meta
from imap.media.video_io import RATE, read_video, steady_times
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
        times: seconds at which each frame is shown, and at which the last one ends.
        maps: the maps.
        meta: the sample's meta.json.
        has_video: False if only the maps are known.
        truth: of words that have one, booleans (frames, height, width): where the thing is, or while it acts.
    """

    folder: Path
    frames: np.ndarray
    times: Sequence[float]
    maps: Maps
    meta: Mapping[str, Any]
    has_video: bool = True
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)

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
    check_finite(maps)
    if not (folder / VIDEO).is_file():
        if "fps" in meta:  # it was written with a video
            raise ImapError(f"{folder} has no {VIDEO}; {AGAIN}")
        frames = blank_frames(maps)
        return Shown(folder, frames, steady_times(len(frames), RATE), maps, meta, has_video=False)
    try:
        frames = read_video(folder / VIDEO)
    except ValueError as error:
        raise ImapError(f"{folder / VIDEO} cannot be decoded as a video ({error}); {AGAIN}") from None
    broken = damaged(folder, meta)
    if broken:
        raise ImapError(f"{folder}: {broken[0]} is not the file that was written; {AGAIN}")
    truth = load_truth(folder, frames.shape[:3])
    masks = truth.by_word(maps.texts) if truth else {}
    return Shown(folder, frames, _times(meta, len(frames)), maps, meta, truth=masks)


def check_finite(maps: Maps) -> None:
    """Raise ImapError for maps with values that are NaN or infinite: no colour would be true."""
    for key, array in maps.items():
        if not np.isfinite(array).all():
            raise ImapError(f"the maps {key!r} have values that are NaN or infinite, which no picture can show")


def _times(meta: Mapping[str, Any], frames: int) -> Sequence[float]:
    """Times of `Shown`: those of the clip that was read, else of a steady rate."""
    times = meta.get("times", ())
    return times if len(times) == frames + 1 else steady_times(frames, meta.get("fps", RATE))


def time_labels(times: Sequence[float], frames: Sequence[int]) -> list[str]:
    """Labels of frames, with as many digits as make them different."""
    for digits in (1, 2, 3):
        labels = [f"{times[frame]:.{digits}f} s" for frame in frames]
        if len(set(labels)) == len(labels):
            break
    return labels


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


def settings_in(samples: Iterable[Path]) -> int:
    """How many different settings samples were made with. Maps that no run has made do not count."""
    requests = ((read_meta(folder) or {}).get("request") for folder in samples)
    return len({json.dumps(one.get("settings"), sort_keys=True) for one in requests if isinstance(one, Mapping)})


def run_names(paths: Iterable[Path]) -> list[str]:
    """Names of runs' folders: their last parts, as many as make the names unique."""
    resolved = [path.resolve() for path in paths]
    names: list[str] = []
    for parts in range(1, max((len(path.parts) for path in resolved), default=0) + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len(set(names)) == len(names):
            break
    return names
