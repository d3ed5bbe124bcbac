"""Do generated videos show what the caption says? Judged by colour alone, by no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imap.shapes.world.scenes import FLASH, MOVING, NOUNS, WHITE, Scene

NEAR = 70.0  # distance in RGB within which a pixel has a noun's colour, or that of its flash
SEEN = 0.008  # share of a frame's pixels that an object must fill to be there
FAR, LARGER, LONG = 0.15, 1.6, 2  # at its full: height that it goes; times its area at rest; frames that it flashes
COLOURS = np.array(list(NOUNS.values()), np.float32)
FLASHES = COLOURS + FLASH * (WHITE - COLOURS)


@dataclass(frozen=True)
class Verdict:
    """What a video shows of one noun: whether its colour is there, whether it does what the caption says, and whether
    it does that alone."""

    noun: str
    verb: str
    present: bool
    obeys: bool
    alone: bool


def look(video: np.ndarray, scene: Scene) -> list[Verdict]:
    """Judge a video, uint8 (f, h, w, 3), against a scene of two different nouns."""
    kinds = _kinds(video)
    return [_look(kinds, thing.noun, thing.verb) for thing in scene.things]


def _kinds(video: np.ndarray) -> np.ndarray:
    """(f, h, w): number of the noun whose colour a pixel has, len(NOUNS) more where it flashes, -1 for none."""
    colours = np.concatenate([COLOURS, FLASHES])
    distances = np.stack([np.linalg.norm(video.astype(np.float32) - colour, axis=-1) for colour in colours])
    return np.where(distances.min(axis=0) < NEAR, distances.argmin(axis=0), -1)


def _look(kinds: np.ndarray, noun: str, verb: str) -> Verdict:
    own = list(NOUNS).index(noun)
    flash = kinds == own + len(NOUNS)
    mask = (kinds == own) | flash
    area = mask.mean(axis=(1, 2))
    present = bool((area > SEEN).mean() > 0.6)
    done = _done(mask, area, flash) if present else set()
    return Verdict(noun, verb, present, verb in done, done == {verb})


def _done(mask: np.ndarray, area: np.ndarray, flash: np.ndarray) -> set[str]:
    """What a thing does between the clip's first and last frames, in which it rests."""
    ends = np.zeros(len(mask), bool)
    ends[[0, 1, -2, -1]] = True
    rows = (np.arange(mask.shape[1]) + 0.5) / mask.shape[1]
    there = area > SEEN
    weights = mask.sum(axis=2)
    height = (weights * rows).sum(axis=1) / weights.sum(axis=1).clip(min=1)
    if not (there & ends).any() or not (there & ~ends).any():
        return set()
    rest, size = height[there & ends].mean(), area[there & ends].mean()
    heights, areas = height[there & ~ends] - rest, area[there & ~ends] / size
    tests = {
        "jumps": np.percentile(heights, 20) < -FAR,
        "dips": np.percentile(heights, 80) > FAR,
        "grows": np.percentile(areas, 80) > LARGER,
        "flashes": (flash.sum(axis=(1, 2)) > mask.sum(axis=(1, 2)) / 2)[there & ~ends].sum() >= LONG,
    }
    done = {verb for verb in MOVING if tests[verb]}
    return done or {"stays"}


def shares(seen: Sequence[Verdict]) -> dict[str, float]:
    """Shares of named things whose colour is present, and that do as told, all and by verb."""
    by_verb = {verb: [x.obeys for x in seen if x.verb == verb] for verb in dict.fromkeys(x.verb for x in seen)}
    return {
        "present": float(np.mean([x.present for x in seen])),
        "obeys": float(np.mean([x.obeys for x in seen])),
        "obeys and does nothing else": float(np.mean([x.alone for x in seen])),
        **{f"obeys, {verb}": float(np.mean(flags)) for verb, flags in by_verb.items()},
    }
