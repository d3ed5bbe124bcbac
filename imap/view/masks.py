"""Masks of words: the pixels of every video frame at which a map reaches a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from numbers import Integral
from typing import Any

import numpy as np

from imap.errors import ImapError, brief
from imap.saliency import Maps
from imap.view.lengths import check_length, lengths
from imap.view.look import Look
from imap.view.normalization import normalize_text
from imap.view.threshold import OTSU, lowest_of_top, otsu
from imap.view.upsampling import enlarge, latent_frame

Size = tuple[int, int, int]  # frames, height, width


@dataclass(frozen=True)
class Masked:
    """Masks of a text. masks: bool (frames, height, width). values: of the map, at the threshold; one, or by latent
    frame with normalization=frame; None for a map without spread, whose mask is empty."""

    masks: np.ndarray
    values: Sequence[float] | None


def masked(maps: Maps, text: str, key: str, threshold: float | str, size: Size, look: Look) -> Masked:
    """Masks of a text. A pixel belongs to them if the enlarged map is at or above the threshold there.

    Pixels at the lowest value of the map never do.

    Args:
        maps: all maps.
        text: one of their texts.
        key: of the map.
        threshold: as `check_threshold` returns it. A number is on the scale of the pictures, `look.normalization`; the
            other rules take the map's own values over the whole video.
        size: of the video.
        look: whose normalization and space are taken.
    """
    frames, height, width = size
    index, by_frame = maps.texts.index(text), look.normalization == "frame" and not isinstance(threshold, str)
    x = maps[key][index]
    if np.ptp(x) == 0:
        return Masked(np.zeros(size, bool), None)
    if threshold == OTSU:
        values = [otsu(x)]
    elif isinstance(threshold, str):
        values = [lowest_of_top(np.stack([enlarge(one, height, width, look.space) for one in x]), threshold)]
    else:
        low, high = normalize_text(maps[key], index, look.normalization).limits[0, : None if by_frame else 1].T
        values = (low + threshold * (high - low)).tolist()
    masks = np.empty(size, bool)
    for latent, covered in groupby(range(frames), lambda frame: latent_frame(frame, len(x), frames)):
        picture, lowest = enlarge(x[latent], height, width, look.space), (x[latent] if by_frame else x).min()
        value = np.float32(values[latent if by_frame else 0])
        masks[list(covered)] = picture >= value if value > lowest else picture > lowest
    return Masked(masks, values)


def video_size(maps: Maps, size: Any = None) -> Size:
    """Size of the video of maps: as given, (height, width) or (frames, height, width), or as the trace has recorded it.

    Raises:
        ImapError: for sizes that do not fit the maps, or that are not known.
    """
    size = maps.facts.get("pixels") if size is None else size
    if size is None:
        raise ImapError("these maps do not know the size of their video; give video= or size=(height, width)")
    sides = list(size) if isinstance(size, Sequence | np.ndarray) and not isinstance(size, str) else []
    if len(sides) not in (2, 3) or not all(isinstance(x, Integral) and int(x) > 0 for x in sides):
        raise ImapError(f"size={brief(size)} is not (height, width) or (frames, height, width) in pixels")
    if len(sides) == 2:
        known = lengths(maps)
        if len(known) > 1:
            raise ImapError(
                f"these maps fit videos of {' or '.join(map(str, known))} frames; give video=, or "
                "size=(frames, height, width)"
            )
        sides = [known[0], *sides]
    frames, height, width = map(int, sides)
    check_length(maps, frames)
    return frames, height, width
