"""The world: clips in which it is known exactly what is where, and when it moves.

A scene is a few numbers, drawn by numpy from a seed: which noun does which verb, from which frame to which, in which
column. It is drawn at any size and length by `imap.shapes.world.drawing`. All things rest alike, at one height, and
come back to it: a verb is seen only while it happens, so a denoiser needs its word there and then. What it does is
fixed (`jumps` always goes as high), so that at high noise the word is worth much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

VERSION = 2
# a noun is a shape and a colour, so that it is seen in few pixels
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
FLASH, WHITE = 0.65, 250  # how far a flashing thing's colour goes towards this shade
RAMP = 0.06  # of the clip: how long a verb takes to be at its full, and to be over
SLOPE = 48  # of the background's shade, from top to bottom: without it a small denoiser takes long to tell up from down
SLOTS = 2  # objects in a scene


@dataclass(frozen=True)
class Thing:
    """One object. Times are fractions of the clip; x is a fraction of its height, from the left."""

    noun: str
    verb: str
    x: float
    onset: float
    offset: float


@dataclass(frozen=True)
class Scene:
    """What a clip shows. Things come in caption order; a later one hides an earlier one."""

    things: tuple[Thing, ...]
    background: tuple[int, int, int]
    texture_seed: int | None = None  # None: a plain background
    pan: float = 0.0  # camera: share of the height that the view moves to the right during the clip
    trails: bool = False  # moving things leave a fading trace

    @property
    def caption(self) -> str:
        return " while ".join(f"a {thing.noun} {thing.verb}" for thing in self.things)

    @property
    def concepts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(thing.noun for thing in self.things))

    @property
    def motions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(thing.verb for thing in self.things))


@dataclass(frozen=True)
class Conditions:
    """Which scenes are drawn: shares of them. As they stand, the plain world."""

    twins: float = 0.2  # both objects have one noun, and only the verb tells them apart
    texture: float = 0.0
    pan: float = 0.0
    occlusion: float = 0.0  # the second object may stand in the first one's way
    trails: float = 0.0


def scenes(seed: int, count: int, conditions: Conditions | None = None) -> Iterator[Scene]:
    """`count` scenes from a seed. Nouns, verbs and their order are counter-balanced: every pair of verbs comes up
    equally often within each block of scenes, and nouns are drawn apart from verbs."""
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
    """Two columns, in either order, apart by a large object unless one may hide the other."""
    apart = 0.1 if hidden else LARGE + RADIUS + 0.02
    while True:
        x = rng.uniform(0.2, 0.8, SLOTS)
        if abs(x[0] - x[1]) >= apart:
            return float(x[0]), float(x[1])


@dataclass(frozen=True)
class Motion:
    """A thing over time, one value per frame: height, radius, share of white in its colour, and whether its verb
    happens."""

    y: np.ndarray
    radius: np.ndarray
    white: np.ndarray
    moving: np.ndarray


def motion(thing: Thing, frames: int) -> Motion:
    """Path of a thing over `frames` evenly spaced frames, from the clip's start to its end."""
    time = np.linspace(0.0, 1.0, frames)
    full = np.clip(np.minimum(time - thing.onset, thing.offset - time) / RAMP, 0.0, 1.0)  # how much it happens
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
