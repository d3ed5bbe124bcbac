"""Real clips: checked, and resampled on request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange

from imap.errors import ImapError, brief
from imap.media.clip_file import Clip, open_clip, stacked
from imap.media.clip_times import chosen_frames, frames_within, shown_times
from imap.media.video_io import RATE, mean_rate, steady_times

RESIZE = ("none", "crop", "stretch")
FRAMES = ("none", "uniform", "first")


@dataclass(frozen=True)
class Fit:
    """Size and length that a clip must have, and how another one is resampled.

    Attributes:
        height, width, num_frames: size in pixels and length; None takes the clip's own.
        resize: none, crop (scale to cover, cut the middle) or stretch.
        frames: none, uniform (spread evenly over the clip's time) or first.
        seconds: the part of the clip to take, from and to; None takes all of it.
    """

    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    resize: str = "none"
    frames: str = "none"
    seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, known in (("resize", RESIZE), ("frames", FRAMES)):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise ImapError(f"video.{name}={brief(getattr(self, name))} is not known; it can be {', '.join(known)}")


@dataclass(frozen=True)
class FittedClip:
    """A clip at the size and length that a model takes.

    Attributes:
        frames: uint8 (frames, height, width, 3).
        taken: number of each frame in the clip, from 0.
        times: seconds of the clip at which each frame is shown, and at which the last one ends. None without a clock.
        record: facts of the clip for meta.json.
        notes: what readers of its maps must know.
    """

    frames: np.ndarray
    taken: tuple[int, ...]
    times: tuple[float, ...] | None
    record: Mapping[str, Any]
    notes: tuple[str, ...]

    def times_of(self, frames: int) -> Sequence[float]:
        """Times of so many frames that were made from it: CogVideoX decodes an even number of latent frames to more."""
        times = self.times or steady_times(len(self.frames), RATE)
        return times if len(times) == frames + 1 else steady_times(frames, mean_rate(times))


def read_clip(path: str | Path) -> np.ndarray:
    """All frames of a video file, uint8 (frames, height, width, 3); raises as `open_clip` does."""
    return open_clip(path).read()


def as_clip(clip: str | Path | np.ndarray | Sequence[Any]) -> Clip:
    """A clip from a video file, or from frames as `as_frames` takes them, which have no clock."""
    if isinstance(clip, str | Path):
        return open_clip(clip)
    frames = as_frames(clip)
    return Clip(frames.shape, None, lambda numbers: (frames[i] for i in numbers))


def as_frames(clip: np.ndarray | Sequence[Any]) -> np.ndarray:
    """uint8 frames (frames, height, width, 3) from such an array, from floats in [0, 1] or from PIL images."""
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


def check_clip(clip: Clip, fit: Fit, name: str, multiple: Sequence[int] = (1, 1), temporal: int = 1) -> None:
    """Raise ImapError for a clip of another size or length that `fit` does not resample.

    multiple, temporal: as in `check_video_size`, so that only sizes and lengths are advised that the model takes.
    """
    _, height, width, _ = clip.shape
    frames = len(frames_within(clip, fit.seconds, name))
    name = name if fit.seconds is None else f"{name}, from {fit.seconds[0]:g} to {fit.seconds[1]:g} s,"
    wanted, size = fit.num_frames or frames, (fit.height or height, fit.width or width)
    fits = frames % temporal == 1 % temporal, height % multiple[0] == 0 and width % multiple[1] == 0
    own_length = f", or num_frames={frames}" if fits[0] else ""
    own_size = f", or height={height} width={width}" if fits[1] else ""
    wrong = []
    if frames == 1 < wanted:
        raise ImapError(f"{name} is a single picture, and {wanted} frames are expected; give a video")
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


def fit_clip(clip: Clip, fit: Fit, name: str = "the clip") -> FittedClip:
    """The clip at the size and length of `fit`. Only frames that are taken are kept. Raises as `check_clip` does."""
    check_clip(clip, fit, name)
    taken = chosen_frames(clip, fit, name)
    size = (fit.height or clip.shape[1], fit.width or clip.shape[2])
    frames: Iterator[np.ndarray] = clip.pick(taken)
    if size != clip.shape[1:3]:
        frames = (resized(frame, size, fit.resize) for frame in frames)
    times = shown_times(clip, taken, fit.seconds)
    return FittedClip(
        stacked(frames, len(taken)), tuple(taken), times, _record(clip, taken, times), _notes(clip, taken)
    )


def _record(clip: Clip, taken: Sequence[int], times: Sequence[float] | None) -> dict[str, Any]:
    record = {"frames": clip.shape[0], "height": clip.shape[1], "width": clip.shape[2], "taken": list(taken)}
    if clip.times is None or times is None:
        return record
    return record | {"seconds": clip.times[-1], "times": list(times)}


def _notes(clip: Clip, taken: Sequence[int]) -> tuple[str, ...]:
    repeated = len(taken) - len(set(taken))
    if not repeated:
        return clip.notes
    note = f"{len(taken)} frames were taken from {len(set(taken))} of the clip: {repeated} of them repeat another"
    return (*clip.notes, note)


def resized(frame: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """A uint8 picture (height, width, channels) at another size. how: crop or stretch, as in `Fit`."""
    height, width = frame.shape[:2]
    inner = size
    if how == "crop":
        scale = max(size[0] / height, size[1] / width)
        inner = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    top, left = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    x = rearrange(torch.from_numpy(frame).float(), "h w c -> 1 c h w")
    x = torch.nn.functional.interpolate(x, inner, mode="bilinear", antialias=True, align_corners=False)
    x = x[..., top : top + size[0], left : left + size[1]].round().clamp(0, 255).byte()
    return rearrange(x, "1 c h w -> h w c").numpy()


def to_tensor(clip: np.ndarray) -> torch.Tensor:
    """uint8 (frames, height, width, 3) to float32 (1, 3, frames, height, width) in [-1, 1]."""
    return rearrange(torch.from_numpy(clip).float() / 127.5 - 1, "f h w c -> 1 c f h w")


def to_pixels(frames: np.ndarray) -> np.ndarray:
    """Float frames in [0, 1], as pipelines give them, to uint8."""
    return (np.clip(frames, 0, 1) * 255).round().astype(np.uint8)


def check_video_size(
    height: int, width: int, num_frames: int, multiple: Sequence[int], temporal: int, causal: bool = True
) -> None:
    """Raise ImapError for a size that the model cannot take.

    Args:
        height, width, num_frames: of the video.
        multiple: of height and of width, in pixels.
        temporal: frames per latent frame.
        causal: the first latent frame is of one frame, else of as many as the others.
    """
    for name, value, step in (("height", height, multiple[0]), ("width", width, multiple[1])):
        if value < step or value % step:
            near = max(step, round(value / step) * step)
            raise ImapError(f"{name}={value} is not a multiple of {step}, as this model needs; set {name}={near}")
    first = 1 if causal else 0
    if num_frames < 1 or (num_frames - first) % temporal:
        near = max(1, round((num_frames - first) / temporal)) * temporal if not causal else 0
        near = near or max(1, round((num_frames - 1) / temporal) * temporal + 1)
        lengths = ", ".join(str(k * temporal + first) for k in range(1 - first, 4 - first))
        raise ImapError(
            f"num_frames={num_frames} is not {temporal}k{'+1' * first}, as this model needs ({lengths} ...); "
            f"set num_frames={near}"
        )
