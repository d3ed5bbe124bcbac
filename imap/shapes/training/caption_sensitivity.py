"""Does the model use the words? How much its loss rises when the caption is altered: what training is judged by."""

from collections.abc import Sequence
from typing import Any

import torch

from imap.shapes.models import Recipe
from imap.shapes.training.latent_cache import Bank
from imap.shapes.world.scenes import NOUNS, VERBS, Scene

LEVELS = (0.3, 0.6, 0.7, 0.8, 0.85, 0.9, 0.96)
VERB_LEVELS = (0.8, 0.85, 0.9)  # where the verb matters most: t = 800 to 900
BATCH = 32


def captions(scene: Scene) -> dict[str, str]:
    """A scene's caption, and the same with no word, other nouns, other verbs, and the two verbs exchanged."""

    def written(nouns: Sequence[str], verbs: Sequence[str]) -> str:
        return " while ".join(f"a {noun} {verb}" for noun, verb in zip(nouns, verbs, strict=True))

    nouns, verbs = [[getattr(thing, name) for thing in scene.things] for name in ("noun", "verb")]
    absent = [noun for noun in NOUNS if noun not in nouns]
    others = dict(zip(dict.fromkeys(nouns), absent, strict=False))
    unused = [verb for verb in VERBS if verb not in verbs]
    return {
        "true": scene.caption,
        "empty": "",
        "wrong nouns": written([others[noun] for noun in nouns], verbs),
        "wrong verbs": written(nouns, unused[: len(verbs)]),
        "exchanged verbs": written(nouns, verbs[::-1]),
    }


@torch.no_grad()
def caption_gap(recipe: Recipe, pipe: Any, held_out: Bank, seed: int = 0) -> dict[str, dict[float, float]]:
    """Mean squared error by noise level under the true caption, and how much it rises under each altered one."""
    kinds = list(captions(held_out.scenes[0]))
    total = torch.zeros(len(kinds), len(LEVELS), dtype=torch.float64)
    for j, level in enumerate(LEVELS):
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, len(held_out.latents), BATCH):
            clean = held_out.latents[start : start + BATCH].float()
            written = [captions(scene) for scene in held_out.scenes[start : start + BATCH]]
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            noisy, timesteps, target = recipe.noised(pipe, clean, noise, torch.full((len(clean),), level).to(clean))
            for i, kind in enumerate(kinds):
                text = recipe.text(pipe, [own[kind] for own in written])
                error = (recipe.predict(pipe, noisy, timesteps, text) - target).square()
                total[i, j] += error.flatten(1).mean(dim=1).sum().item()
    total /= len(held_out.latents)
    total[1:] -= total[0].clone()
    return {kind: dict(zip(LEVELS, row.tolist(), strict=True)) for kind, row in zip(kinds, total, strict=True)}


def verb_gap(gap: dict[str, dict[float, float]]) -> float:
    """Mean rise of the loss under wrong verbs at t = 800 to 900."""
    return sum(gap["wrong verbs"][level] for level in VERB_LEVELS) / len(VERB_LEVELS)
