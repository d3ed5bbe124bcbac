"""Caption fidelity: whether generated videos show what their captions say, judged by colour alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imap.shapes.world.scenes import FLASH, MOVING, NOUNS, WHITE, Scene

NEAR = 70.0  # largest RGB distance at which a pixel has a noun's colour, or its flashing colour
SEEN = 0.008  # least share of a frame's pixels of an object that is present
FAR, LARGER, LONG = 0.15, 1.6, 2  # least change of height, least growth of area, least number of flashing frames
COLOURS = np.array(list(NOUNS.values()), np.float32)
FLASHES = COLOURS + FLASH * (WHITE - COLOURS)


@dataclass(frozen=True)
class Verdict:
    """Verdict on one object of a video.

    Attributes:
        noun: Noun in the caption.
        verb: Verb in the caption.
        present: The noun's colour is present.
        follows: The object performs the verb.
        follows_only: The object performs the verb and no other.
    """

    noun: str
    verb: str
    present: bool
    follows: bool
    follows_only: bool


def judge(video: np.ndarray, scene: Scene) -> list[Verdict]:
    """Judge a video, uint8 (f, h, w, 3), against a scene of two different nouns."""
    kinds = _kinds(video)
    return [_verdict(kinds, thing.noun, thing.verb) for thing in scene.things]


def _kinds(video: np.ndarray) -> np.ndarray:
    """Noun number of each pixel's colour, (f, h, w): plus len(NOUNS) for a flashing colour, -1 for none."""
    colours = np.concatenate([COLOURS, FLASHES])
    distances = np.stack([np.linalg.norm(video.astype(np.float32) - colour, axis=-1) for colour in colours])
    return np.where(distances.min(axis=0) < NEAR, distances.argmin(axis=0), -1)


def _verdict(kinds: np.ndarray, noun: str, verb: str) -> Verdict:
    number = list(NOUNS).index(noun)
    flash = kinds == number + len(NOUNS)
    mask = (kinds == number) | flash
    area = mask.mean(axis=(1, 2))
    present = bool((area > SEEN).mean() > 0.6)
    actions = _actions(mask, area, flash) if present else set()
    return Verdict(noun, verb, present, verb in actions, actions == {verb})


def _actions(mask: np.ndarray, area: np.ndarray, flash: np.ndarray) -> set[str]:
    """Verbs that an object performs. In the first and last two frames it should rest."""
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
    actions = {verb for verb in MOVING if tests[verb]}
    return actions or {"stays"}


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Shares of objects that are present, and that follow the caption, overall and by verb."""
    verbs = dict.fromkeys(verdict.verb for verdict in verdicts)
    by_verb = {verb: [verdict.follows for verdict in verdicts if verdict.verb == verb] for verb in verbs}
    return {
        "present": float(np.mean([verdict.present for verdict in verdicts])),
        "follows the caption": float(np.mean([verdict.follows for verdict in verdicts])),
        "follows the caption and does nothing else": float(np.mean([verdict.follows_only for verdict in verdicts])),
        **{f"follows the caption, {verb}": float(np.mean(flags)) for verb, flags in by_verb.items()},
    }
