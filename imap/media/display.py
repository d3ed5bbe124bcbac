"""How a player shows a decoded frame: turned, with square pixels, in the colours that the file means."""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace

UNSPECIFIED = 2  # colour matrix of a stream that names none
HD = 720  # rows from which players take such a stream as BT.709, and below which as BT.601


@dataclass(frozen=True)
class Display:
    """What a player does to a decoded frame.

    Attributes:
        height, width: of the frame with square pixels, before it is turned. Players enlarge one side, and shrink none.
        matrix: (a, b, c, d) of the display matrix: a pixel (x, y) is shown at (a x + c y, b x + d y).
        interval: mean seconds between frames of the stream, or 0.
        start: seconds of the clock at which the file starts, with its first picture or sound.
    """

    height: int
    width: int
    matrix: tuple[int, int, int, int] = (1, 0, 0, 1)
    interval: float = 0.0
    start: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of what is shown."""
        return (self.width, self.height, 3) if self._transposed else (self.height, self.width, 3)

    @property
    def _transposed(self) -> bool:
        return abs(self.matrix[1]) > abs(self.matrix[0])

    def shown(self, frame: av.VideoFrame) -> np.ndarray:
        """The frame's colours, uint8 (height, width, 3), as they are shown."""
        hd = frame.colorspace == UNSPECIFIED and frame.height >= HD
        matrix = Colorspace.ITU709 if hd else None
        coloured = frame.reformat(self.width, self.height, "rgb24", src_colorspace=matrix)
        pixels, (a, b, c, d) = coloured.to_ndarray(), self.matrix
        if self._transposed:
            pixels, right, down = pixels.transpose(1, 0, 2), c, b
        else:
            right, down = a, d
        pixels = pixels[:, ::-1] if right < 0 else pixels
        return np.ascontiguousarray(pixels[::-1] if down < 0 else pixels)


def display_of(frame: av.VideoFrame, stream: Any) -> Display:
    """How a frame of a stream is shown: by its display matrix, the stream's pixel aspect, and the file's start."""
    aspect = float(stream.sample_aspect_ratio or 1)
    height = frame.height if aspect >= 1 else round(frame.height / aspect)
    width = frame.width if aspect <= 1 else round(frame.width * aspect)
    interval, start = interval_of(stream), start_of(stream.container)
    sides: Any = frame.side_data  # it iterates over its values, unlike other mappings
    data = next((x for x in sides if x.type == Type.DISPLAYMATRIX), None)
    if data is None:
        return Display(height, width, interval=interval, start=start)
    a, b, _, c, d = (int(x) for x in np.frombuffer(bytes(data), np.int32)[:5])
    return Display(height, width, (a, b, c, d), interval, start)


def start_of(file: Any) -> float:
    """Seconds of the clock at which an open file starts, with its first picture or sound."""
    return float((file.start_time or 0) / av.time_base)


def interval_of(stream: Any) -> float:
    """Mean seconds between frames of a stream, or 0 if it does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return float(1 / rate) if rate else 0.0
