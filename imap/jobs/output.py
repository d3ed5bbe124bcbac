"""What a job makes of one sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imap.saliency import Maps


@dataclass(frozen=True)
class Output:
    """What a job makes of one sample: uint8 frames (frames, height, width, 3), maps, and what to record of them."""

    frames: np.ndarray
    maps: Maps
    record: Mapping[str, Any]
