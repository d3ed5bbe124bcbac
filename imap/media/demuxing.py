"""The frames of an open video file in order, and whether the file is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from imap.errors import ImapError
from imap.media.display import Display, display_of

SHORTEST = 0.9  # of its container's duration: a file with less was cut off
PACKETS = (188, 192)  # bytes of an MPEG transport packet


def decoded(file: Any, path: Path) -> Iterator[tuple[av.VideoFrame, Display]]:
    """Frames of the video stream. Raises ImapError if there is none, or if the file was cut off."""
    stream, seconds, damaged = _video_stream(file, path), 0.0, _ends_in_a_packet(file, path)
    stream.thread_type = "AUTO"
    start = float((stream.start_time or 0) * stream.time_base)
    for packet in file.demux(stream):
        damaged |= bool(packet.is_corrupt)
        for frame in packet.decode():
            seconds = max(seconds, float(frame.time or 0) - start + float((frame.duration or 0) * frame.time_base))
            yield frame, display_of(frame, stream)
    rate = stream.average_rate or stream.guessed_rate
    whole = float((file.duration or 0) / av.time_base)
    if damaged or (rate and seconds + 1.5 / float(rate) < SHORTEST * whole and not _sound_is_longer(file, seconds)):
        raise ImapError(
            f"video_path: {path} is cut off or damaged: it says {whole:.2f} s, and its frames end at {seconds:.2f} s; "
            "copy it again, or cut it where it ends"
        )


def _video_stream(file: Any, path: Path) -> Any:
    streams = [x for x in file.streams.video if not x.disposition & Disposition.attached_pic]
    if not streams:
        raise ImapError(f"video_path: {path} has no video, only {', '.join(x.type for x in file.streams) or 'nothing'}")
    return streams[0]


def _ends_in_a_packet(file: Any, path: Path) -> bool:
    """Whether a transport stream was cut inside a packet. It knows nothing of its own length."""
    return file.format.name == "mpegts" and all(path.stat().st_size % size for size in PACKETS)


def _sound_is_longer(file: Any, seconds: float) -> bool:
    """Whether another stream explains that a file lasts longer than its video."""
    longest = max(
        (float(x.duration * x.time_base) for x in file.streams if x.duration and x.type != "video"), default=0
    )
    return longest > seconds
