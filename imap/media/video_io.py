"""Video files: decoded frame by frame, and written. Needs no torch."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np

from imap.errors import ImapError, first_line


def iterate_clip(path: str | Path) -> Iterator[np.ndarray]:
    """Frames of a video one by one, uint8 (height, width, 3), in order: containers lie about their length.

    Raises ImapError for a file that is missing, cannot be decoded, holds no frame or frames of several sizes.
    """
    path, shape = Path(path), None
    if not path.is_file():
        raise ImapError(f"video_path: there is no file {path.absolute()}")
    try:
        for frame in iio.imiter(path, plugin="pyav", format="rgb24"):
            if shape not in (None, frame.shape):
                raise ImapError(f"video_path: {path} changes its size on the way, from {shape} to {frame.shape}")
            shape = frame.shape
            yield frame
    except ImapError:
        raise
    except Exception as error:  # the decoder's own errors have no common class
        raise ImapError(f"video_path: {path} cannot be decoded as a video ({first_line(error)})") from None
    if shape is None:
        raise ImapError(f"video_path: {path} holds no frame")


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
