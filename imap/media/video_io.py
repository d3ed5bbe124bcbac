"""Video files: decoded frame by frame, and written. Needs no torch."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from imap.errors import ImapError, first_line

SHORTEST = 0.9  # of its container's duration: a file with less was cut off


def iterate_clip(path: str | Path) -> Iterator[np.ndarray]:
    """Frames of a video one by one, uint8 (height, width, 3), turned as a player shows them.

    In order, and to the end: containers lie about their length. Cover pictures are no video.

    Raises ImapError for a file that is missing, cut off or cannot be decoded, and that holds no frame or frames of
    several sizes.
    """
    path, shape = Path(path), None
    _check_file(path)
    try:
        with av.open(str(path)) as file:
            for frame in _decoded(file, path):
                if shape not in (None, frame.shape):
                    raise ImapError(f"video_path: {path} changes its size on the way, from {shape} to {frame.shape}")
                shape = frame.shape
                yield frame
    except ImapError:
        raise
    except Exception as error:  # the decoder's own errors have no common class
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ImapError(f"video_path: {path} cannot be decoded as a video ({reason})") from None
    if shape is None:
        raise ImapError(f"video_path: {path} holds no frame")


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


def _decoded(file: Any, path: Path) -> Iterator[np.ndarray]:
    """Frames of the video stream. Raises ImapError if there is none, or if the file was cut off."""
    streams = [x for x in file.streams.video if not x.disposition & Disposition.attached_pic]
    if not streams:
        raise ImapError(f"video_path: {path} has no video, only {', '.join(x.type for x in file.streams) or 'nothing'}")
    stream, seconds = streams[0], 0.0
    packets = path.stat().st_size % 188 and path.stat().st_size % 192  # bytes of an MPEG transport packet
    damaged = file.format.name == "mpegts" and bool(packets)
    stream.thread_type = "AUTO"
    for packet in file.demux(stream):
        damaged |= bool(packet.is_corrupt)
        for frame in packet.decode():
            seconds = max(seconds, float(frame.time or 0) - float((stream.start_time or 0) * stream.time_base))
            pixels = frame.to_ndarray(format="rgb24")
            yield np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90)) if frame.rotation else pixels
    rate = stream.average_rate or stream.guessed_rate
    whole = float((file.duration or 0) / av.time_base)
    if damaged or (rate and seconds + 1.5 / float(rate) < SHORTEST * whole and not _sound_is_longer(file, seconds)):
        raise ImapError(
            f"video_path: {path} is cut off or damaged: it says {whole:.2f} s, and its frames end at {seconds:.2f} s; "
            "copy it again, or cut it where it ends"
        )


def _sound_is_longer(file: Any, seconds: float) -> bool:
    """Whether another stream explains that a file lasts longer than its video."""
    longest = max(
        (float(x.duration * x.time_base) for x in file.streams if x.duration and x.type != "video"), default=0
    )
    return longest > seconds


def read_clip(path: str | Path) -> np.ndarray:
    """All frames of a video, uint8 (frames, height, width, 3); raises as `iterate_clip` does."""
    return np.stack(list(iterate_clip(path)))


def read_video(path: Path) -> np.ndarray:
    """All frames of a video that `write_video` has written, uint8 (frames, height, width, 3).

    Raises ValueError for a file that cannot be decoded. Not by imageio, which collects garbage at every
    file: a second each beside a loaded model.
    """
    try:
        with av.open(str(path)) as file:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    except (OSError, ValueError, IndexError, av.FFmpegError) as error:  # without a frame, without a stream
        raise ValueError(getattr(error, "strerror", None) or first_line(error)) from None


def clip_shape(path: str | Path) -> tuple[int, ...]:
    """Shape that `read_clip` would give, with one frame in memory at a time."""
    shapes = (frame.shape for frame in iterate_clip(path))
    first = next(shapes)
    return (1 + sum(1 for _ in shapes), *first)


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int, preset: str = "medium") -> None:
    """H.264 mp4 of uint8 frames (height, width, 3) of one size, which are taken one by one. preset: of x264.

    The same frames give the same bytes: so on one thread, and without the macroblock tree, in which x264 on CPUs with
    AVX-512 reads what it has not written.
    """
    frames = iter(frames)
    first = next(frames)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options={"preset": preset, "x264-params": "mbtree=0"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        for frame in chain([first], frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        file.mux(stream.encode(None))
