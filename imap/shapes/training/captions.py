"""How a training clip is told: mostly in full, sometimes in a word, sometimes not."""

from dataclasses import dataclass

import numpy as np

from imap.shapes.world import Scene


@dataclass(frozen=True)
class Shares:
    """empty: share of captions that say nothing, for guidance. one_word: share of the others."""

    empty: float
    one_word: float


def draw_caption(scene: Scene, rng: np.random.Generator, shares: Shares) -> str:
    """A caption of the scene, drawn anew each time."""
    if rng.random() < shares.empty:
        return ""
    if rng.random() < shares.one_word:
        return str(rng.choice([*scene.concepts, *scene.motions]))
    return scene.caption
