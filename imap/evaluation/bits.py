"""Masks packed into integers of 64 pixels of a row. They make counts, boundaries and dilation fast.

Masks are booleans (..., height, width), and bits uint64 (..., height, integers). The bits past the width are padding.
"""

from math import isqrt

import numpy as np

PIXELS = 64  # of an integer
BLOCK = 2**18  # bytes of frames to dilate together: they stay in the processor's cache


def packed(masks: np.ndarray) -> np.ndarray:
    """Masks as bits; their padding is 0."""
    groups = np.packbits(masks, axis=-1, bitorder="little")
    bits = np.zeros((*masks.shape[:-1], -(-masks.shape[-1] // PIXELS) * PIXELS // 8), np.uint8)
    bits[..., : groups.shape[-1]] = groups
    return bits.view("<u8")


def unpacked(bits: np.ndarray, width: int) -> np.ndarray:
    """Bits as masks of some width."""
    return np.unpackbits(bits.view(np.uint8), axis=-1, count=width, bitorder="little").view(bool)


def dilated(bits: np.ndarray, radius: float) -> np.ndarray:
    """Pixels at most `radius` away from a pixel of a mask, by the centres of pixels. Their padding has any value."""
    blocks = -(-bits.nbytes // BLOCK)
    if bits.ndim > 2 and min(blocks, len(bits)) > 1:
        return np.concatenate([dilated(part, radius) for part in np.array_split(bits, min(len(bits), blocks))])
    height, squared = bits.shape[-2], int(radius**2 + 1e-9)
    result, wide, reach = np.zeros_like(bits), bits, 0
    for rows in range(isqrt(squared), -1, -1):  # from the disk's outermost rows, which are narrow, to its middle
        for _ in range(isqrt(squared - rows**2) - reach):
            wide = wide | _from_the_right(wide) | _from_the_left(wide)
        reach = isqrt(squared - rows**2)
        left = max(height - rows, 0)
        result[..., rows:, :] |= wide[..., :left, :]
        result[..., :left, :] |= wide[..., rows:, :]
    return result


def edges(bits: np.ndarray, width: int) -> np.ndarray:
    """Boundary pixels of masks of some width: those that differ from the pixel right, below, or both.

    Half a pixel is lost towards the origin, and a mask that fills the frame has no boundary, as in DAVIS.
    """
    right, inner = _from_the_right(bits), packed(np.arange(width) < width - 1)
    result = (bits ^ right) & inner
    above, below = bits[..., :-1, :], slice(1, None)
    result[..., :-1, :] |= (above ^ bits[..., below, :]) | ((above ^ right[..., below, :]) & inner)
    return result


def _from_the_right(bits: np.ndarray) -> np.ndarray:
    """Every pixel has the value of its right neighbour."""
    moved = bits >> np.uint64(1)
    moved[..., :-1] |= bits[..., 1:] << np.uint64(PIXELS - 1)
    return moved


def _from_the_left(bits: np.ndarray) -> np.ndarray:
    """Every pixel has the value of its left neighbour."""
    moved = bits << np.uint64(1)
    moved[..., 1:] |= bits[..., :-1] >> np.uint64(PIXELS - 1)
    return moved
