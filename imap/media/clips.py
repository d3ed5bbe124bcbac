"""Real clips: checked, and resampled on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange

from imap.errors import ImapError, brief
from imap.media.video_io import clip_shape, iterate_clip, read_clip, write_video

__all__ = [
    "Fit",
    "as_clip",
    "check_clip",
    "check_video_size",
    "clip_shape",
    "fit_clip",
    "iterate_clip",
    "read_clip",
    "to_pixels",
    "to_tensor",
    "write_video",
]
RESIZE = ("none", "crop", "stretch")
FRAMES = ("none", "uniform", "first")


@dataclass(frozen=True)
class Fit:
    """Size and length that a clip must have, and how another one is resampled.

    Attributes:
        height, width, num_frames: size in pixels and length; None takes the clip's own.
        resize: none, crop (scale to cover, cut the middle) or stretch.
        frames: none, uniform (spread evenly over the clip) or first.
    """

    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    resize: str = "none"
    frames: str = "none"

    def __post_init__(self) -> None:
        for name, known in (("resize", RESIZE), ("frames", FRAMES)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise ImapError(f"video.{name}={brief(getattr(self, name))} is not known; it can be {', '.join(known)}")


def as_clip(clip: str | Path | np.ndarray | Sequence[Any]) -> np.ndarray:
    """A clip from a video file, frames as an array (uint8, or floats in [0, 1] as pipelines give) or PIL images."""
    if isinstance(clip, str | Path):
        return read_clip(clip)
    if not isinstance(clip, np.ndarray | Sequence):
        raise ImapError(
            f"a clip that is a {type(clip).__name__}; expected a video file, or frames (frames, height, width, 3)"
        )
    if not isinstance(clip, np.ndarray) and len(clip) == 0:
        raise ImapError("a clip of no frames; expected a video file, or frames (frames, height, width, 3)")
    frames = np.ascontiguousarray(clip) if isinstance(clip, np.ndarray) else _stacked(clip)
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ImapError(f"a clip of shape {frames.shape} is not (frames, height, width, 3)")
    if not frames.size:
        raise ImapError(f"a clip of shape {frames.shape} has no pixels; expected (frames, height, width, 3)")
    if np.issubdtype(frames.dtype, np.floating):
        if not (frames.min() >= 0 and frames.max() <= 1):  # also for NaN
            raise ImapError("a clip of floats must lie in [0, 1], without NaN; give uint8 frames, or scale it")
        return to_pixels(frames)
    if frames.dtype != np.uint8:
        raise ImapError(f"a clip of {frames.dtype} is neither uint8 nor floats in [0, 1]")
    return frames


def _stacked(clip: Sequence[Any]) -> np.ndarray:
    """Frames in one array. Raises ImapError for frames of several shapes."""
    try:
        frames = [np.asarray(frame) for frame in clip]
        shapes = list(dict.fromkeys(frame.shape for frame in frames))
        if len(shapes) == 1:
            return np.stack(frames)
    except (ValueError, TypeError):  # lists of several lengths or more than 64 deep, texts beside numbers
        raise ImapError("a clip of lists that make no array; expected frames (frames, height, width, 3)") from None
    raise ImapError(f"a clip with frames of several shapes, {', '.join(map(str, shapes[:3]))}; expected one shape")


def check_clip(
    shape: tuple[int, ...], fit: Fit, name: str, multiple: Sequence[int] = (1, 1), temporal: int = 1
) -> None:
    """Raise ImapError for a clip (frames, height, width, 3) of another size or length that `fit` does not resample.

    multiple, temporal: as in `check_video_size`, so that only sizes and lengths are advised that the model takes.
    """
    frames, height, width, _ = shape
    wanted, size = fit.num_frames or frames, (fit.height or height, fit.width or width)
    fits = frames % temporal == 1 % temporal, height % multiple[0] == 0 and width % multiple[1] == 0
    own_length = f", or num_frames={frames}" if fits[0] else ""
    own_size = f", or height={height} width={width}" if fits[1] else ""
    wrong = []
    if frames != wanted and fit.frames == "none":
        wrong.append(
            f"has {frames} frames and {wanted} are expected; set video.frames=uniform (spread evenly) or "
            f"video.frames=first to resample it{own_length}"
        )
    if frames < wanted and fit.frames == "first":
        wrong.append(f"has {frames} frames, fewer than the {wanted} expected; set video.frames=uniform")
    if (height, width) != size and fit.resize == "none":
        wrong.append(
            f"is {height}x{width} and {size[0]}x{size[1]} is expected (height x width); set video.resize=crop "
            f"or video.resize=stretch to resample it{own_size}"
        )
    if wrong:
        raise ImapError(f"{name} {'. It also '.join(wrong)}")


def fit_clip(clip: np.ndarray, fit: Fit, name: str = "the clip") -> np.ndarray:
    """The clip at the size and length of `fit`. Raises as `check_clip` does."""
    check_clip(clip.shape, fit, name)
    frames, height, width, _ = clip.shape
    wanted, size = fit.num_frames or frames, (fit.height or height, fit.width or width)
    if frames != wanted:
        clip = clip[
            np.linspace(0, frames - 1, wanted).round().astype(int) if fit.frames == "uniform" else slice(wanted)
        ]
    return clip if (height, width) == size else _resized(clip, size, fit.resize)


def _resized(clip: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    height, width = clip.shape[1:3]
    inner = size
    if how == "crop":
        scale = max(size[0] / height, size[1] / width)
        inner = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    top, left = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    frames = []
    for frame in clip:  # one at a time: float copies of a whole clip are large
        x = rearrange(torch.from_numpy(frame).float(), "h w c -> 1 c h w")
        x = torch.nn.functional.interpolate(x, inner, mode="bilinear", antialias=True, align_corners=False)
        x = x[..., top : top + size[0], left : left + size[1]].round().clamp(0, 255).byte()
        frames.append(rearrange(x, "1 c h w -> h w c").numpy())
    return np.stack(frames)


def to_tensor(clip: np.ndarray) -> torch.Tensor:
    """uint8 (frames, height, width, 3) to float32 (1, 3, frames, height, width) in [-1, 1]."""
    return rearrange(torch.from_numpy(clip).float() / 127.5 - 1, "f h w c -> 1 c f h w")


def to_pixels(frames: np.ndarray) -> np.ndarray:
    """Float frames in [0, 1], as pipelines give them, to uint8."""
    return (np.clip(frames, 0, 1) * 255).round().astype(np.uint8)


def check_video_size(height: int, width: int, num_frames: int, multiple: Sequence[int], temporal: int) -> None:
    """Raise ImapError for a size that the model cannot take.

    multiple: of height and of width, in pixels. temporal: frames per latent frame after the first.
    """
    for name, value, step in (("height", height, multiple[0]), ("width", width, multiple[1])):
        if value < step or value % step:
            near = max(step, round(value / step) * step)
            raise ImapError(f"{name}={value} is not a multiple of {step}, as this model needs; set {name}={near}")
    if num_frames < 1 or (num_frames - 1) % temporal:
        near = max(1, round((num_frames - 1) / temporal) * temporal + 1)
        raise ImapError(
            f"num_frames={num_frames} is not {temporal}k+1, as this model needs (1, {temporal + 1}, "
            f"{2 * temporal + 1} ...); set num_frames={near}"
        )
