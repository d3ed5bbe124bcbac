"""Video files of any origin, read as a player shows them, frame by frame. Needs no torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice, pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorTrc

from imap.errors import ImapError, first_line
from imap.media.demuxing import decoded
from imap.media.display import Display

LONGEST = 3600  # seconds that a frame may be shown
HDR = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}


@dataclass(frozen=True)
class Clip:
    """A clip whose frames are decoded when they are wanted.

    Attributes:
        shape: (frames, height, width, 3), as a player shows it.
        times: seconds at which each frame is shown, from the start of the file, and at which the last one ends: one
            more than frames. None for frames without a clock.
        pick: frames of given numbers, uint8 (height, width, 3), one by one. Each number is at least the one before.
        notes: what readers of its maps must know.
    """

    shape: tuple[int, int, int, int]
    times: tuple[float, ...] | None
    pick: Callable[[Sequence[int]], Iterator[np.ndarray]]
    notes: tuple[str, ...] = ()

    def read(self) -> np.ndarray:
        """All frames, uint8 (frames, height, width, 3)."""
        return stacked(self.pick(range(self.shape[0])), self.shape[0])


def stacked(frames: Iterable[np.ndarray], count: int) -> np.ndarray:
    """So many frames in one array, with no second copy of them."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ImapError(f"a clip has no frames now, and had {count} when it was checked; run it again")
    array = np.empty((count, *first.shape), first.dtype)
    filled = 0
    for frame in chain([first], islice(frames, count - 1)):
        array[filled], filled = frame, filled + 1
    if filled < count:
        raise ImapError(f"a clip has {filled} frames now, and had {count} when it was checked; run it again")
    return array


def open_clip(path: str | Path) -> Clip:
    """A video file as a player shows it: turned, of square pixels, at its own time stamps.

    It is decoded once to the end, as the length that a container states may be wrong. Cover pictures are no video.

    Raises:
        ImapError: the file is missing, cut off or cannot be decoded, or holds no frame or frames of several sizes.
    """
    path = Path(path)
    _check_file(path)
    stat = path.stat()
    return _opened(path, stat.st_size, stat.st_mtime_ns)


def _check_file(path: Path) -> None:
    """Raise ImapError for what is no file with content. A pipe would wait for a writer."""
    if path.is_dir():
        raise ImapError(f"video_path: {path.absolute()} is a folder; make a video file of its pictures")
    if path.exists() and not path.is_file():
        raise ImapError(f"video_path: {path.absolute()} is a pipe or a device; copy it to a file first")
    if not path.is_file():
        raise ImapError(f"video_path: there is no file {path.absolute()}")
    if not path.stat().st_size:
        raise ImapError(f"video_path: {path} is empty")


@lru_cache(maxsize=4096)
def _opened(path: Path, _size: int, _changed: int) -> Clip:
    """As `open_clip`. Remembered while the file stays as it is: a list is checked before its clips are read."""
    stamps, shape, transfer = [], None, None
    with _decoding(path) as frames:
        for frame, display in frames:
            if shape is None:
                display.shown(frame)  # a format that cannot be converted fails here
            elif shape != display.shape:
                raise ImapError(f"video_path: {path} changes its size on the way, from {shape} to {display.shape}")
            shape, transfer = display.shape, frame.color_trc
            stamps.append(_stamp(frame, display))
    if shape is None:
        raise ImapError(f"video_path: {path} holds no frame")
    times, notes = _times(stamps)
    longest = max(end - start for start, end in pairwise(times))
    if longest > LONGEST:
        raise ImapError(f"video_path: {path} shows one frame for {longest:.0f} s; its time stamps are damaged")
    if transfer is not None and transfer in HDR:
        kind = HDR[ColorTrc(transfer)]
        notes += (f"the clip is in high dynamic range ({kind}): its colours are not tone-mapped",)
    return Clip((len(stamps), *shape), times, partial(_pick, path), notes)


def _stamp(frame: av.VideoFrame, display: Display) -> tuple[float | None, float, float]:
    """Seconds at which a frame is shown, how long or 0, and the mean interval of its stream."""
    start = None if frame.time is None else frame.time - display.start
    return start, float((frame.duration or 0) * (frame.time_base or 0)), display.interval


def _times(stamps: Sequence[tuple[float | None, float, float]]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Times of `Clip`, and a note where a file has none that rise.

    Args:
        stamps: of each frame, as `_stamp` returns it.
    """
    starts, (_, last, interval) = [stamp for stamp, _, _ in stamps if stamp is not None], stamps[-1]
    if len(starts) < len(stamps) or any(b <= a for a, b in pairwise(starts)):
        note = "the clip's time stamps are missing or do not rise: its frames are taken to be even in time"
        return tuple(i * interval for i in range(len(stamps) + 1)), (note,)
    usual = float(np.median(np.diff(starts))) if len(starts) > 1 else interval
    ends = [*starts, starts[-1] + (last or usual)]
    return tuple(round(x, 6) for x in ends), ()


@contextmanager
def _decoding(path: Path) -> Iterator[Iterator[tuple[av.VideoFrame, Display]]]:
    """Decoded frames with how they are displayed. Raises ImapError for a file that cannot be decoded."""
    try:
        with av.open(str(path)) as file:
            yield decoded(file, path)
    except ImapError:
        raise
    except Exception as error:  # the decoder's own errors have no common class
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ImapError(f"video_path: {path} cannot be decoded as a video ({reason})") from None


def _pick(path: Path, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of these numbers, each at least the one before. Only they are converted."""
    wanted = iter(numbers)
    number = next(wanted, None)
    with _decoding(path) as frames:
        for i, (frame, display) in enumerate(frames):
            if i == number:
                picture = display.shown(frame)
                while number == i:
                    yield picture
                    number = next(wanted, None)
            if number is None:
                return
