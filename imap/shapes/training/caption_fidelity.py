"""Caption fidelity: whether generated videos show what their captions say, judged by colour alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imap.shapes.world.scenes import MOVING, NOUNS, Scene
from imap.shapes.world.seen import PRESENT, SEEN, kinds, mean_heights

FAR, LARGER, LONG = 0.15, 1.6, 2  # least change of height, least growth of area, least number of flashing frames


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
    found = kinds(video)
    return [_verdict(found, thing.noun, thing.verb) for thing in scene.things]


def _verdict(found: np.ndarray, noun: str, verb: str) -> Verdict:
    number = list(NOUNS).index(noun)
    flash = found == number + len(NOUNS)
    mask = (found == number) | flash
    area = mask.mean(axis=(1, 2))
    present = bool((area > SEEN).mean() > PRESENT)
    actions = _actions(mask, area, flash) if present else set()
    return Verdict(noun, verb, present, verb in actions, actions == {verb})


def _actions(mask: np.ndarray, area: np.ndarray, flash: np.ndarray) -> set[str]:
    """Verbs that an object performs. In the first and last two frames it should rest."""
    ends = np.zeros(len(mask), bool)
    ends[[0, 1, -2, -1]] = True
    there = area > SEEN
    height = mean_heights(mask)
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
