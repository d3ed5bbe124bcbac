"""How a training clip is told: mostly in full, often without saying who does what, sometimes in a word, sometimes not.

A verb's token carries its noun, so a denoiser could read all of an object off its verb and leave the noun's own token
unread: then there would be no map of a noun to find. Captions that list nouns and verbs apart keep every word needed.
"""

from dataclasses import dataclass

import numpy as np

from imap.shapes.world import Scene


@dataclass(frozen=True)
class Shares:
    """empty: share of captions that say nothing, for guidance. one_word, apart: shares of the others."""

    empty: float
    one_word: float
    apart: float


def draw_caption(scene: Scene, rng: np.random.Generator, shares: Shares) -> str:
    """A caption of the scene, drawn anew each time."""
    if rng.random() < shares.empty:
        return ""
    kind = rng.random()
    if kind < shares.one_word:
        return str(rng.choice([*scene.concepts, *scene.motions]))
    return apart(scene, rng) if kind < shares.one_word + shares.apart else scene.caption


def apart(scene: Scene, rng: np.random.Generator) -> str:
    """Nouns and verbs in lists of their own, each in any order: "a box and a ball while something rises ..."."""
    nouns, verbs = ([getattr(thing, name) for thing in scene.things] for name in ("noun", "verb"))
    listed = " and ".join(f"a {noun}" for noun in rng.permutation(nouns))
    return f"{listed} while " + " and ".join(f"something {verb}" for verb in rng.permutation(verbs))
