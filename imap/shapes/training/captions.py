"""Captions of training clips: mostly full sentences, sometimes one word, sometimes empty."""

import numpy as np

from imap.shapes.world.scenes import Scene


def draw_caption(scene: Scene, rng: np.random.Generator, empty: float, one_word: float) -> str:
    """Draw a caption of a scene at random.

    Args:
        scene: The scene.
        rng: Random numbers.
        empty: Share of empty captions, for classifier-free guidance.
        one_word: Share of single words among the other captions.
    """
    if rng.random() < empty:
        return ""
    if rng.random() < one_word:
        return str(rng.choice([*scene.concepts, *scene.motions]))
    return scene.caption
