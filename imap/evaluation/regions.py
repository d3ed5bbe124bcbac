"""Region similarity J and boundary accuracy F of masks, as in DAVIS (Perazzi et al. 2016, Pont-Tuset et al. 2017).

Masks are booleans (frames, height, width). Scores are per frame; that of a video is their mean over all frames, the
first and the last one included. Frames in which the object is neither there nor found score 1, and frames in which it
is one of the two score 0. Void pixels are taken out of both masks before (`&= ~void`). A video in which the object
never is has no score: callers give nan.

`vos-benchmark` gives the same numbers, but leaves out frames before the object is there or found for the first time.
They count here, because a motion that has not begun must not be found.
"""

from dataclasses import dataclass

import numpy as np

from imap.evaluation import bits

BOUNDARY = 0.008  # tolerance of F, as a share of the frame's diagonal
LEVELS = 256  # thresholds to choose from, as of maps of 8 bits
LARGEST = float(np.finfo(np.float32).max)
BLOCK = 2**18  # pixels to work on at once: they stay in the processor's cache


def counts(masks: np.ndarray) -> np.ndarray:
    """True pixels of every frame, (..., frames), of booleans or bits."""
    ones = np.bitwise_count(masks.view(np.uint8) if masks.dtype == bool else masks)
    return ones.reshape(*ones.shape[:-2], -1).sum(axis=-1, dtype=np.uint32).astype(int)


def region_j(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """J of every frame, (..., frames): intersection over union of two masks, both booleans or both bits."""
    both, either = counts(found & truth), counts(found | truth)
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def dilated(masks: np.ndarray, radius: float) -> np.ndarray:
    """Pixels at most `radius` away from a pixel of a mask (..., height, width), by the centres of pixels."""
    return bits.unpacked(bits.dilated(bits.packed(masks), radius), masks.shape[-1])


@dataclass(frozen=True)
class Outline:
    """Boundaries of masks, ready for `boundary_f`.

    Attributes:
        edge: bits (..., frames, height, integers), the boundary pixels.
        near: bits (..., frames, height, integers), the pixels within the tolerance of one. Their padding has any value.
        length: integers (..., frames), how many boundary pixels there are.
    """

    edge: np.ndarray
    near: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, masks: np.ndarray, tolerance: float = BOUNDARY) -> "Outline":
        """Outline of masks. tolerance: as a share of the diagonal; pixels, rounded up, are the radius."""
        return cls.of_bits(bits.packed(masks), masks.shape[-1], tolerance)

    @classmethod
    def of_bits(cls, masks: np.ndarray, width: int, tolerance: float = BOUNDARY) -> "Outline":
        """`of` masks that are bits (..., frames, height, integers), of some width in pixels."""
        edge = bits.edges(masks, width)
        radius = float(np.ceil(tolerance * np.hypot(masks.shape[-2], width)))
        return cls(edge, bits.dilated(edge, radius), counts(edge))

    def __getitem__(self, frames: np.ndarray) -> "Outline":
        return Outline(self.edge[..., frames, :, :], self.near[..., frames, :, :], self.length[..., frames])


def boundary_f(found: Outline, truth: Outline) -> np.ndarray:
    """F of every frame, (..., frames): F1 of boundary pixels that have one of the other mask within the tolerance."""
    precision = counts(found.edge & truth.near) / np.maximum(found.length, 1)
    recall = counts(truth.edge & found.near) / np.maximum(truth.length, 1)
    f = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return np.where((found.length == 0) & (truth.length == 0), 1.0, f)


def levels_of(x: np.ndarray) -> np.ndarray:
    """Thresholds to try, float32: LEVELS even steps from the lowest value of a map, left out, to its highest one."""
    levels = np.linspace(x.min(), x.max(), LEVELS + 1, dtype=np.float32)[1:]
    return levels[levels > x.min()]


def levels_reached(x: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How many of some even levels each value reaches: `np.searchsorted` on the right, several times as fast.

    Args:
        x: values, float32, any shape.
        levels: float32, ascending, as of `levels_of`.

    Returns:
        uint16, of the shape of x.
    """
    step = float(levels[-1] - levels[0]) / max(len(levels) - 1, 1)
    rounding = float(np.spacing(np.abs(levels).max()))
    if step < max(16 * rounding, 1 / LARGEST):  # rounded levels are not even, or 1 / step is infinite
        return np.searchsorted(levels, x, side="right").astype(np.uint16)
    doubt = np.float32(4 * rounding / step + len(levels) * 2.0**-20)  # in steps: more than rounding changes
    reached = x - levels[0]
    reached *= np.float32(1 / step)
    reached += np.float32(1)
    np.clip(reached, doubt, np.float32(len(levels) + 0.5), out=reached)
    codes, most = (reached - doubt).astype(np.uint16), (reached + doubt).astype(np.uint16)
    doubtful = codes != most
    codes[doubtful] = np.searchsorted(levels, x[doubtful], side="right")
    return codes


def best_threshold(
    pictures: np.ndarray, latents: np.ndarray, truth: np.ndarray, levels: np.ndarray, void: np.ndarray | None = None
) -> float:
    """The threshold with the highest mean J over frames; of equal ones the lowest.

    All thresholds are tried at once, by histograms of the pixels inside and outside the true mask.

    Args:
        pictures: a map at the video's size, float32 (latent frames, height, width).
        latents: the latent frame of each video frame, integers (frames,).
        truth: booleans (frames, height, width), without void pixels.
        levels: thresholds, ascending; at least one. A pixel is found if it is at or above the threshold.
        void: booleans (frames, height, width), pixels that do not count; None for none.
    """
    at_once = max(1, BLOCK // pictures[0].size)
    parts = [pictures[start : start + at_once] for start in range(0, len(pictures), at_once)]
    codes, bins = np.concatenate([levels_reached(part, levels) for part in parts]), len(levels) + 1

    def histograms(masks: np.ndarray) -> np.ndarray:
        """How often each code is in each frame's mask, (frames, bins)."""
        rows = [np.bincount(codes[latent][mask], minlength=bins) for latent, mask in zip(latents, masks, strict=True)]
        return np.stack(rows)

    hits, found = histograms(truth), np.stack([np.bincount(frame.ravel(), minlength=bins) for frame in codes])[latents]
    if void is not None:
        found -= histograms(void)
    area = hits.sum(axis=1, keepdims=True)
    found, hits = (np.cumsum(x[:, :0:-1], axis=1)[:, ::-1] for x in (found, hits))
    either = found + area - hits
    mean_j = np.where(either == 0, 1.0, hits / np.maximum(either, 1)).mean(axis=0)
    return float(levels[mean_j.argmax()])
