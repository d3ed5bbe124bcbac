"""Videos of this project's own: written, and read again. Needs no torch."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain, pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from imap.errors import ImapError, brief, first_line

TICKS = 90_000  # per second, in videos whose frames are not even in time
RATE = 8  # frames per second of a video that names none
SLOWEST, FASTEST = 0.01, 1000  # frames per second
LARGEST_FRACTION = 1001  # denominators of common rates, such as 30000/1001


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


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    clock: float | Sequence[float],
    preset: str = "medium",
    crf: int | None = None,
) -> None:
    """H.264 mp4 of uint8 frames (height, width, 3) of one size, which are taken one by one.

    The same frames give the same bytes: so on one thread, and without the macroblock tree, in which x264 on CPUs with
    AVX-512 reads what it has not written. Colours are BT.709, and the file says so.

    Args:
        path: of the mp4.
        frames: at most as many as the clock has.
        clock: frames per second; or the times in seconds at which frames are shown, and at which the last one ends.
        preset: of x264.
        crf: quality of x264, from 0 (lossless); None is its default, 23.
    """
    frames = iter(frames)
    first = next(frames)
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise ImapError(f"a video of {first.shape[0]}x{first.shape[1]}: an mp4 needs an even height and width")
    rate, tick, starts, durations = _clock(clock)
    own = "mbtree=0:bframes=0" if starts else "mbtree=0"  # an mp4 ends where the last frame that it stores does
    options = {"preset": preset, "x264-params": own} | ({} if crf is None else {"crf": str(crf)})
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        _tag_colours(stream.codec_context)
        stream.codec_context.time_base = tick
        for i, frame in enumerate(chain([first], frames)):
            picture = _converted(frame)
            picture.pts, picture.time_base = starts[i] if starts else i, tick
            _mux(file, stream.encode(picture), durations)
        _mux(file, stream.encode(None), durations)


def mean_rate(times: Sequence[float]) -> float:
    """Frames per second of a video with these times, the last of which is its end."""
    return (len(times) - 1) / (times[-1] - times[0])


def times_of(clock: float | Sequence[float], frames: int) -> Sequence[float]:
    """Times of so many frames of a video with this clock, as `write_video` takes it."""
    return steady_times(frames, clock) if isinstance(clock, int | float) else clock


def check_fps(value: Any) -> float:
    """Frames per second. Raises ImapError unless it is a number, such as 29.97, from SLOWEST to FASTEST."""
    number: Any = value if isinstance(value, Real) and not isinstance(value, bool) else 0
    if not SLOWEST <= number <= FASTEST:  # also for NaN, and for integers that no float can hold
        raise ImapError(f"fps={brief(value, 40)} is not a number of frames per second from {SLOWEST} to {FASTEST}")
    rate = float(value)
    return int(rate) if rate.is_integer() else rate


def clock_facts(clock: float | Sequence[float]) -> dict[str, Any]:
    """What meta.json records of a video with this clock: `fps`, and `times` unless they follow from it."""
    if isinstance(clock, int | float):
        return {"fps": clock}
    return {"fps": round(mean_rate(clock), 4), "times": list(clock)}


def steady_times(frames: int, rate: float) -> tuple[float, ...]:
    """Times of a video of so many frames per second, with its end."""
    return tuple(i / rate for i in range(frames + 1))


def _clock(clock: float | Sequence[float]) -> tuple[Fraction, Fraction, list[int], dict[int, int]]:
    """Mean rate, seconds of a tick, and in ticks the start of each frame and its duration by start.

    No ticks for a steady rate, where a tick is a frame.
    """
    if isinstance(clock, int | float):
        rate = Fraction(clock).limit_denominator(LARGEST_FRACTION)
        return rate, 1 / rate, [], {}
    ticks = [round((x - clock[0]) * TICKS) for x in clock]
    rate = Fraction(mean_rate(clock)).limit_denominator(LARGEST_FRACTION)
    return rate, Fraction(1, TICKS), ticks[:-1], {a: b - a for a, b in pairwise(ticks)}


def _tag_colours(codec: Any) -> None:
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def _converted(frame: np.ndarray) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
    return picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _mux(file: Any, packets: Iterable[Any], durations: Mapping[int, int]) -> None:
    for packet in packets:
        packet.duration = durations.get(packet.pts, packet.duration)
        file.mux(packet)
