"""How a training clip is told: mostly in full, often without saying who does what, sometimes in a word, sometimes not.

A verb's token carries its noun, so a denoiser could read all of an object off its verb and leave the noun's own token
unread: then there would be no map of a noun to find. Captions that list nouns and verbs apart keep every word needed.
"""

import numpy as np

from imap.shapes.world import Scene

APART, ONE_WORD = 0.45, 0.1  # shares of the captions that are not empty


def told(scene: Scene, rng: np.random.Generator, empty: float) -> str:
    """A caption of the scene, drawn anew each time; '' in a share `empty` of cases, for guidance."""
    if rng.random() < empty:
        return ""
    kind = rng.random()
    if kind < ONE_WORD:
        return str(rng.choice([*scene.concepts, *scene.motions]))
    return apart(scene, rng) if kind < ONE_WORD + APART else scene.caption


def apart(scene: Scene, rng: np.random.Generator) -> str:
    """Nouns and verbs in lists of their own, each in any order: "a box and a ball while something rises ..."."""
    nouns, verbs = ([getattr(thing, name) for thing in scene.things] for name in ("noun", "verb"))
    listed = " and ".join(f"a {noun}" for noun in rng.permutation(nouns))
    return f"{listed} while " + " and ".join(f"something {verb}" for verb in rng.permutation(verbs))
