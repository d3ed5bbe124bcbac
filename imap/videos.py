"""Video files: decoded frame by frame, and written. Needs no torch."""

from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from imap.errors import ImapError


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
        raise ImapError(f"video_path: {path} cannot be decoded as a video ({_line(error)})") from None
    if shape is None:
        raise ImapError(f"video_path: {path} holds no frame")


def read_clip(path: str | Path) -> np.ndarray:
    """All frames of a video, uint8 (frames, height, width, 3); raises as `iterate_clip` does."""
    return np.stack(list(iterate_clip(path)))


def clip_shape(path: str | Path) -> tuple[int, ...]:
    """Shape that `read_clip` would give, with one frame in memory at a time."""
    shapes = (frame.shape for frame in iterate_clip(path))
    first = next(shapes)
    return (1 + sum(1 for _ in shapes), *first)


def write_video(path: Path, frames: np.ndarray, fps: int) -> None:
    """H.264 mp4 of uint8 (frames, height, width, 3)."""
    with iio.imopen(path, "w", plugin="pyav") as video:
        video.write(frames, codec="libx264", fps=fps, out_pixel_format="yuv420p")


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
