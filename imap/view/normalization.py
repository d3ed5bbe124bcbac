"""Maps to [0, 1], by a rule that is written down beside every picture."""

from dataclasses import dataclass

import numpy as np

PERCENTILES = {"median": (50, 99.5), "percentile": (1, 99)}  # that become 0 and 1
SCALES = {
    "median": "median to 99.5th percentile of the video",
    "video": "lowest to highest value of the video",
    "frame": "lowest to highest value of each frame",
    "percentile": "1st to 99th percentile of the video",
    "shared": "lowest to highest value of all words",
}
_REMARKS = {
    "median": "a quiet ground is clear, and frames compare",
    "video": "frames compare",
    "frame": "nothing compares, the place shows best",
    "percentile": "single cells do not set the scale",
    "shared": "words compare",
}
KINDS = {kind: f"{scale}: {_REMARKS[kind]}" for kind, scale in SCALES.items()}


def six_digits(x: np.ndarray) -> list:
    """An array as nested lists of its values at six significant digits: maps are of any magnitude."""
    return np.vectorize(lambda value: float(f"{value:.6g}"))(x).tolist()


@dataclass(frozen=True)
class Normalized:
    """values: (texts, frames, h, w) in [0, 1]. limits: (texts, frames, 2), which values became 0 and 1."""

    kind: str
    values: np.ndarray
    limits: np.ndarray

    def recorded(self) -> dict:
        """The rule and its limits in plain values, one pair per text, or per text and frame."""
        limits = self.limits if self.kind == "frame" else self.limits[:, 0]
        return {"normalization": self.kind, "meaning": KINDS[self.kind], "limits": six_digits(limits)}


def normalize(maps: np.ndarray, kind: str = "median") -> Normalized:
    """Maps of one key, (texts, frames, h, w), to [0, 1]. A map without spread becomes 0. kind: one of KINDS."""
    texts, frames = maps.shape[:2]
    if kind == "frame":
        low, high = maps.min(axis=(2, 3)), maps.max(axis=(2, 3))
    elif kind in PERCENTILES:
        low, high = np.percentile(maps, PERCENTILES[kind], axis=(1, 2, 3))[..., None]
        if kind == "median":
            high = np.where(high > low, high, maps.max(axis=(1, 2, 3))[:, None])  # bright in a few cells only
    elif kind == "shared":
        low, high = maps.min(), maps.max()
    else:
        low, high = (bound(axis=(1, 2, 3))[:, None] for bound in (maps.min, maps.max))
    limits = np.stack([np.broadcast_to(x, (texts, frames)) for x in (low, high)], axis=-1).astype(np.float64)
    low, high = limits[..., 0, None, None], limits[..., 1, None, None]
    spread = high - low
    values = np.divide(maps - low, spread, out=np.zeros(maps.shape), where=spread > 0)
    return Normalized(kind, values.clip(0, 1).astype(np.float32), limits)


def normalize_text(maps: np.ndarray, index: int, kind: str = "median") -> Normalized:
    """One text's map of a key (texts, frames, h, w) to [0, 1], (1, frames, h, w). Only `shared` looks at the others."""
    if kind != "shared":
        return normalize(maps[index : index + 1], kind)
    every, row = normalize(maps, kind), slice(index, index + 1)
    return Normalized(kind, every.values[row], every.limits[row])
