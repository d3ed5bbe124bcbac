"""Which frames of a clip are taken, and when they are shown. By the clip's own time stamps."""

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from imap.errors import ImapError, brief
from imap.media.clip_file import Clip

TOUCHING = 1e-6  # seconds: a frame that ends there does not lie in a part that begins there
SLACK = 0.01  # seconds that a part may end after the clip, whose length errors print so


def check_seconds(value: Any) -> tuple[float, float] | None:
    """The part of a clip, from and to in seconds; None for all of it. Raises ImapError for anything else."""
    if value is None:
        return None
    part = value.tolist() if isinstance(value, np.ndarray) else value
    numbers = isinstance(part, Sequence) and all(
        isinstance(x, Real) and not isinstance(x, bool) and isfinite(x) for x in part
    )
    if not numbers or isinstance(part, str) or len(part) != 2 or not 0 <= part[0] < part[1]:
        raise ImapError(f"video.seconds={brief(value)} is not a part of a clip; write it as video.seconds=[1.5,3.5]")
    return float(part[0]), float(part[1])


def frames_within(clip: Clip, seconds: tuple[float, float] | None, name: str) -> range:
    """Numbers of the frames that are shown in a part of a clip. Raises ImapError for a part that is not in it."""
    if seconds is None:
        return range(clip.shape[0])
    if clip.times is None:
        raise ImapError(f"video.seconds={list(seconds)}: frames without a clock have no seconds; give a part of them")
    start, end = seconds
    *starts, last = clip.times
    if start >= last or end > last + SLACK:
        raise ImapError(f"{name} lasts {last:.2f} s, and video.seconds={list(seconds)} are expected; set a part of it")
    first = int(np.searchsorted(starts, start + TOUCHING, "right")) - 1
    stop = int(np.searchsorted(starts, end - TOUCHING, "left"))
    return range(max(first, 0), max(stop, first + 1, 1))


def chosen_frames(clip: Clip, fit: Any, name: str) -> list[int]:
    """Numbers of the frames that `fit` takes.

    With `uniform`, points of time are spread evenly from the first frame to the last, and the frame next to each is
    taken: so the frames are even in time where those of the file are not.
    """
    within = frames_within(clip, fit.seconds, name)
    wanted = fit.num_frames or len(within)
    if wanted == len(within) and fit.frames != "uniform":
        return list(within)
    if fit.frames != "uniform":
        return list(within[:wanted])
    starts = np.asarray(within if clip.times is None else [clip.times[i] for i in within], dtype=float)
    if fit.seconds is not None:
        starts = np.maximum(starts, fit.seconds[0])  # the first one is shown already when the part begins
    points = np.linspace(starts[0], starts[-1], wanted)
    after = np.searchsorted(starts, points).clip(1, max(1, len(starts) - 1))
    before = after - 1
    nearer = np.where(points - starts[before] <= starts[after.clip(max=len(starts) - 1)] - points, before, after)
    return [within[int(i)] for i in nearer]


def shown_times(
    clip: Clip, taken: Sequence[int], seconds: tuple[float, float] | None = None
) -> tuple[float, ...] | None:
    """Seconds of the clip at which frames are shown, and at which the last one ends. Copies share a frame's time.

    Args:
        clip: with a clock; None is returned without one.
        taken: numbers of the frames.
        seconds: the part of the clip that is shown; None for all of it.
    """
    if clip.times is None:
        return None
    begin, finish = seconds or (clip.times[0], clip.times[-1])
    copies, seen, times = Counter(taken), Counter(), []
    for i in taken:
        start, end = max(clip.times[i], begin), min(clip.times[i + 1], finish)
        times.append(round(start + (end - start) * seen[i] / copies[i], 6))
        seen[i] += 1
    return (*times, min(clip.times[taken[-1] + 1], finish))
