"""The frames of an open video file in order, and whether the file is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from imap.errors import ImapError
from imap.media.display import Display, display_of, interval_of

SHORTEST = 0.9  # of its container's duration: a file with less was cut off
PACKETS = (188, 192)  # bytes of an MPEG transport packet


def decoded(file: Any, path: Path) -> Iterator[tuple[av.VideoFrame, Display]]:
    """Frames of the video stream. Raises ImapError if there is none, or if the file was cut off."""
    stream, end, damaged, sound = _video_stream(file, path), 0.0, _ends_in_a_packet(file, path), False
    stream.thread_type = "AUTO"
    display, before = None, None
    for packet in file.demux(stream):
        damaged |= bool(packet.is_corrupt)
        for frame in packet.decode():
            end = max(end, _end(frame, stream))
            damaged |= sound and frame.is_corrupt  # the first ones may lack what was cut before them
            sound |= not frame.is_corrupt
            now = (frame.width, frame.height, frame.rotation)
            if display is None or now != before:  # reading side data keeps a frame until garbage is collected
                display, before = display_of(frame, stream), now
            yield frame, display
    whole = float((file.duration or 0) / av.time_base)
    if damaged or (interval_of(stream) and end < SHORTEST * whole and not _sound_is_longer(file, end)):
        raise ImapError(
            f"video_path: {path} is cut off or damaged: it says {whole:.2f} s, and its frames end at {end:.2f} s; "
            "copy it again, or cut it where it ends"
        )


def _end(frame: av.VideoFrame, stream: Any) -> float:
    """Seconds from the start of a stream at which a frame ends."""
    start = float((stream.start_time or 0) * stream.time_base)
    lasts = float((frame.duration or 0) * (frame.time_base or 0))
    return float(frame.time or 0) - start + max(lasts, interval_of(stream))


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
