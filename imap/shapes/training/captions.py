"""How a training clip is told: mostly in full, sometimes in a word, sometimes not."""

import numpy as np

from imap.shapes.world.scenes import Scene


def draw_caption(scene: Scene, rng: np.random.Generator, empty: float, one_word: float) -> str:
    """A caption of the scene, drawn anew each time. empty: share that says nothing, for guidance; one_word: share of
    the others that is a single word."""
    if rng.random() < empty:
        return ""
    if rng.random() < one_word:
        return str(rng.choice([*scene.concepts, *scene.motions]))
    return scene.caption
