"""The frames of an open video file in order, and whether the file is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from imap.errors import ImapError
from imap.media.display import Display, display_of, interval_of, start_of

LONGEST_GAP = 0.01  # of its container's duration that a whole file may lack, beside one frame and a half
TRANSPORT, PACKETS = "mpegts", (188, 192)  # bytes of its packets


def decoded(file: Any, path: Path) -> Iterator[tuple[av.VideoFrame, Display]]:
    """Frames of the video stream. Raises ImapError if there is none, or if the file was cut off."""
    stream, end, damaged, sound = _video_stream(file, path), 0.0, _ends_in_a_packet(file, path), False
    stream.thread_type = "AUTO"
    display, before = None, None
    for packet in file.demux():
        if packet.stream is not stream:  # sound may last longer
            end = max(end, float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base) - start_of(file))
            continue
        damaged |= bool(packet.is_corrupt)
        for frame in packet.decode():
            end = max(end, _end(frame, stream) - start_of(file))
            damaged |= sound and frame.is_corrupt  # the first ones may lack what was cut before them
            sound |= not frame.is_corrupt
            now = (frame.width, frame.height, frame.rotation)
            if display is None or now != before:  # reading side data keeps a frame until garbage is collected
                display, before = display_of(frame, stream), now
            yield frame, display
    whole, interval = float((file.duration or 0) / av.time_base), interval_of(stream)
    if file.format.name != TRANSPORT:  # the duration of others counts from 0, wherever the first frame is
        whole -= max(0, start_of(file))
    if damaged or (interval and whole - end > LONGEST_GAP * whole + 1.5 * interval):
        raise ImapError(
            f"video_path: {path} is cut off or damaged: it says {whole:.2f} s, and its frames end at {end:.2f} s; "
            "copy it again, or cut it where it ends"
        )


def _end(frame: av.VideoFrame, stream: Any) -> float:
    """Seconds at which a frame ends."""
    lasts = float((frame.duration or 0) * (frame.time_base or 0))
    return float(frame.time or 0) + max(lasts, interval_of(stream))


def _video_stream(file: Any, path: Path) -> Any:
    streams = [x for x in file.streams.video if not x.disposition & Disposition.attached_pic]
    if not streams:
        raise ImapError(f"video_path: {path} has no video, only {', '.join(x.type for x in file.streams) or 'nothing'}")
    return streams[0]


def _ends_in_a_packet(file: Any, path: Path) -> bool:
    """Whether a transport stream was cut inside a packet. It knows nothing of its own length."""
    return file.format.name == TRANSPORT and all(path.stat().st_size % size for size in PACKETS)
