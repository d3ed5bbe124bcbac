"""Do generated videos show what the caption says? Judged by colour alone, by no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imap.shapes.world import NOUNS, Scene

NEAR = 70.0  # distance in RGB within which a pixel has a noun's colour
SEEN = 0.008  # share of a frame's pixels that an object must fill to be there
FAR, STILL = 0.25, 0.12  # of the height: how far a moving thing goes at least, and a staying one at most


@dataclass(frozen=True)
class Verdict:
    """What a video shows of one noun: whether its colour is there, and whether it does what the caption says."""

    noun: str
    verb: str
    present: bool
    obeys: bool


def look(video: np.ndarray, scene: Scene) -> list[Verdict]:
    """Judge a video, uint8 (f, h, w, 3), against a scene of two different nouns."""
    return [_look(video, thing.noun, thing.verb) for thing in scene.things]


def _look(video: np.ndarray, noun: str, verb: str) -> Verdict:
    distances = np.stack(
        [np.linalg.norm(video.astype(np.float32) - np.float32(colour), axis=-1) for colour in NOUNS.values()]
    )
    own = list(NOUNS).index(noun)
    mask = (distances[own] < NEAR) & (distances.argmin(axis=0) == own)
    area = mask.mean(axis=(1, 2))
    present = bool((area > SEEN).mean() > 0.6)
    return Verdict(noun, verb, present, present and _obeys(mask, area, verb))


def _obeys(mask: np.ndarray, area: np.ndarray, verb: str) -> bool:
    count = len(mask)
    ends = slice(0, count // 8 + 1), slice(-(count // 8) - 1, None)
    rows = (np.arange(mask.shape[1]) + 0.5) / mask.shape[1]
    weights = mask.sum(axis=2)
    start, end = (float((weights[part] * rows).sum() / max(weights[part].sum(), 1)) for part in ends)
    first, last = (float(area[part].mean()) for part in ends)
    gone = area < 0.3 * np.median(area[area > SEEN]) if (area > SEEN).any() else np.ones(count, bool)
    if verb == "rises":
        return start - end > FAR
    if verb == "falls":
        return end - start > FAR
    if verb == "grows":
        return last > 2 * first
    blinks = bool(gone[count // 8 : -(count // 8)].any() and not gone[ends[1]].all())
    if verb == "blinks":
        return blinks
    return abs(start - end) < STILL and not blinks and 0.5 < last / max(first, 1e-6) < 2


def shares(seen: Sequence[Verdict]) -> dict[str, float]:
    """Shares of named things whose colour is present, and that do as told, all and by verb."""
    by_verb = {verb: [x.obeys for x in seen if x.verb == verb] for verb in dict.fromkeys(x.verb for x in seen)}
    return {
        "present": float(np.mean([x.present for x in seen])),
        "obeys": float(np.mean([x.obeys for x in seen])),
        **{f"obeys, {verb}": float(np.mean(flags)) for verb, flags in by_verb.items()},
    }
