"""A map laid over its video."""

from typing import NamedTuple

import matplotlib
import numpy as np

DARKENED = 0.55  # share of the video's light that an opaque map takes where it is 0


def coloured(x: np.ndarray, colormap: str) -> np.ndarray:
    """Values in [0, 1] to uint8 colours, (..., 3)."""
    return matplotlib.colormaps[colormap](x, bytes=True)[..., :3]


class Veil(NamedTuple):
    """Maps as they are laid over frames. colours: uint8 (..., 3); weighted: the same times the share of them that is
    seen, and rest: what is left to the frames, (..., 1), float32."""

    colours: np.ndarray
    weighted: np.ndarray
    rest: np.ndarray


def veil(x: np.ndarray, colormap: str = "inferno", opacity: float = 0.8) -> Veil:
    """Maps (...) in [0, 1] in colours that are seen the more, the higher the value."""
    share, colours = (opacity * x)[..., None].astype(np.float32), coloured(x, colormap)
    return Veil(colours, colours * share, 1 - share)


def under(frames: np.ndarray, laid: Veil, opacity: float = 0.8) -> np.ndarray:
    """Frames, uint8 (..., 3), darkened under maps, which are clear where they are 0."""
    both = frames * np.float32(1 - DARKENED * opacity) * laid.rest + laid.weighted
    return np.rint(both, out=both).astype(np.uint8)


def overlay(frames: np.ndarray, x: np.ndarray, colormap: str = "inferno", opacity: float = 0.8) -> np.ndarray:
    """Frames, uint8 (f, h, w, 3), under a map (f, h, w) in [0, 1], as `under` says."""
    return under(frames, veil(x, colormap, opacity), opacity)
