"""Scenes of the embedded world: the exact place of each object, and the exact time of its motion.

A scene is a few numbers that numpy draws from a seed: the nouns, their verbs, the start and end of each motion, the
columns. `imap.shapes.world.drawing` draws it at any size and length. Every object starts and ends in the same pose, so
a verb is visible only while the action happens. A denoiser therefore needs the verb's word at that place and time.
Each action is always the same (`jumps` has one height), so the word is informative at high noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

VERSION = 2
# a noun is a shape and a colour, so that few pixels identify it
NOUNS = {
    "ball": (214, 48, 49),
    "box": (38, 96, 214),
    "kite": (32, 160, 90),
    "ring": (236, 188, 30),
    "cross": (164, 62, 190),
}
VERBS = ("jumps", "dips", "grows", "flashes", "stays")
MOVING = VERBS[:-1]
TOP, MIDDLE, BOTTOM = 0.2, 0.5, 0.8
RADIUS, LARGE = 0.15, 0.25
FLASH, WHITE = 0.65, 250  # a flashing object's colour moves by this share towards this shade
RAMP = 0.06  # share of the clip: duration of an action's rise, and of its fall
SLOPE = 48  # background's change of shade from top to bottom; it helps a small denoiser to learn up and down
SLOTS = 2  # objects in a scene


@dataclass(frozen=True)
class Thing:
    """One object. onset and offset are fractions of the clip; x is measured from the left in heights of the frame."""

    noun: str
    verb: str
    x: float
    onset: float
    offset: float


@dataclass(frozen=True)
class Scene:
    """Contents of a clip. Things are in caption order; a later one hides an earlier one."""

    things: tuple[Thing, ...]
    background: tuple[int, int, int]
    texture_seed: int | None = None  # None: plain background
    pan: float = 0.0  # camera motion to the right during the clip, in heights of the frame
    trails: bool = False  # moving things leave a fading trace

    @property
    def caption(self) -> str:
        """Sentence that names each object and its verb."""
        return " while ".join(f"a {thing.noun} {thing.verb}" for thing in self.things)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Distinct nouns, in caption order."""
        return tuple(dict.fromkeys(thing.noun for thing in self.things))

    @property
    def motions(self) -> tuple[str, ...]:
        """Distinct verbs, in caption order."""
        return tuple(dict.fromkeys(thing.verb for thing in self.things))


def scene_of(caption: str) -> Scene:
    """A scene that a caption describes, such as "a ball jumps while a kite grows"; its places and times are made up."""
    words = [part.split() for part in caption.split(" while ")]
    things = (Thing(noun, verb, x, 0.2, 0.7) for (_, noun, verb), x in zip(words, (0.3, 0.7), strict=True))
    return Scene(tuple(things), (45, 45, 45))


@dataclass(frozen=True)
class Conditions:
    """Shares of scenes with each condition. The defaults give the plain world."""

    twins: float = 0.2  # both objects have the same noun, so only the verb distinguishes them
    texture: float = 0.0
    pan: float = 0.0
    occlusion: float = 0.0  # the second object may hide the first
    trails: float = 0.0


def scenes(seed: int, count: int, conditions: Conditions | None = None) -> Iterator[Scene]:
    """Scenes from a seed, counter-balanced.

    Each block of 20 scenes contains every ordered pair of verbs once. Nouns are drawn independently of verbs.

    Args:
        seed: Seed of the scenes. A larger `count` begins with the same scenes.
        count: Number of scenes.
        conditions: Shares of special scenes; None is the plain world.
    """
    conditions = conditions or Conditions()
    rng = np.random.default_rng([VERSION, seed])
    pairs = [(a, b) for a in VERBS for b in VERBS if a != b]
    drawn = 0
    while drawn < count:
        for index in rng.permutation(len(pairs))[: count - drawn]:
            yield _scene(rng, pairs[index], conditions)
            drawn += 1


def _scene(rng: np.random.Generator, verbs: Sequence[str], conditions: Conditions) -> Scene:
    nouns = list(rng.choice(list(NOUNS), SLOTS, replace=False))
    if rng.random() < conditions.twins:
        nouns[1] = nouns[0]
    hidden = rng.random() < conditions.occlusion
    things = []
    for noun, verb, x in zip(nouns, verbs, _columns(rng, hidden), strict=True):
        onset = rng.uniform(0.08, 0.3)
        things.append(Thing(noun=str(noun), verb=verb, x=x, onset=onset, offset=onset + rng.uniform(0.45, 0.6)))
    shade = int(rng.integers(30, 66))
    return Scene(
        tuple(things),
        (shade, shade, shade),
        int(rng.integers(2**31)) if rng.random() < conditions.texture else None,
        float(rng.uniform(-0.3, 0.3)) if rng.random() < conditions.pan else 0.0,
        bool(rng.random() < conditions.trails),
    )


def _columns(rng: np.random.Generator, hidden: bool) -> tuple[float, float]:
    """Two columns in either order, a large object apart unless one may hide the other."""
    apart = 0.1 if hidden else LARGE + RADIUS + 0.02
    while True:
        x = rng.uniform(0.2, 0.8, SLOTS)
        if abs(x[0] - x[1]) >= apart:
            return float(x[0]), float(x[1])


@dataclass(frozen=True)
class Motion:
    """An object over time, one value per frame.

    Attributes:
        y: Centre, measured from the top, in heights of the frame.
        radius: Radius, in heights of the frame.
        white: Share of white in its colour.
        moving: Whether its verb happens.
    """

    y: np.ndarray
    radius: np.ndarray
    white: np.ndarray
    moving: np.ndarray


def motion(thing: Thing, frames: int) -> Motion:
    """Motion of an object over `frames` evenly spaced frames, from the clip's start to its end."""
    time = np.linspace(0.0, 1.0, frames)
    full = np.clip(np.minimum(time - thing.onset, thing.offset - time) / RAMP, 0.0, 1.0)  # strength of the action
    still = np.zeros(frames)
    y, radius, white = still + MIDDLE, still + RADIUS, still
    if thing.verb == "jumps":
        y = y + (TOP - MIDDLE) * full
    elif thing.verb == "dips":
        y = y + (BOTTOM - MIDDLE) * full
    elif thing.verb == "grows":
        radius = radius + (LARGE - RADIUS) * full
    elif thing.verb == "flashes":
        white = FLASH * full
    return Motion(y, radius, white, (full > 0) & (thing.verb in MOVING))
