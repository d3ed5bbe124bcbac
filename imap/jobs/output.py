"""What a job makes of one sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imap.media.truth import Truth
from imap.saliency import Maps


@dataclass(frozen=True)
class Output:
    """What a job makes of one sample.

    Attributes:
        frames: uint8 (frames, height, width, 3).
        maps: the maps.
        record: what to record of them.
        times: seconds at which each frame is shown, and at which the last one ends. None takes the run's rate.
        truth: of the frames, if it is known.
    """

    frames: np.ndarray
    maps: Maps
    record: Mapping[str, Any]
    times: Sequence[float] | None = None
    truth: Truth | None = None
