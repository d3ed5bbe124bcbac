"""Caption sensitivity: how much the denoising loss rises when the caption is altered. Training is judged by it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from imap.shapes.models import Recipe
from imap.shapes.training.latent_cache import LatentCache
from imap.shapes.world.scenes import NOUNS, VERBS, Scene

LEVELS = (0.3, 0.6, 0.7, 0.8, 0.85, 0.9, 0.96)
VERB_LEVELS = (0.8, 0.85, 0.9)  # the verb matters most at t = 800 to 900
BATCH = 32


def altered_captions(scene: Scene) -> dict[str, str]:
    """The true caption of a scene, and captions with no word, other nouns, other verbs, and exchanged verbs."""

    def sentence(nouns: Sequence[str], verbs: Sequence[str]) -> str:
        return " while ".join(f"a {noun} {verb}" for noun, verb in zip(nouns, verbs, strict=True))

    nouns, verbs = [thing.noun for thing in scene.things], [thing.verb for thing in scene.things]
    absent = [noun for noun in NOUNS if noun not in nouns]
    others = dict(zip(dict.fromkeys(nouns), absent, strict=False))
    unused = [verb for verb in VERBS if verb not in verbs]
    return {
        "true": scene.caption,
        "empty": "",
        "wrong nouns": sentence([others[noun] for noun in nouns], verbs),
        "wrong verbs": sentence(nouns, unused[: len(verbs)]),
        "exchanged verbs": sentence(nouns, verbs[::-1]),
    }


@torch.no_grad()
def caption_sensitivity(
    recipe: Recipe, pipe: Any, held_out: LatentCache, seed: int = 0
) -> dict[str, dict[float, float]]:
    """Mean squared error under the true caption, and its rise under each altered caption.

    Args:
        recipe: Recipe of the pipeline's family.
        pipe: The pipeline.
        held_out: Clips that no model is trained on.
        seed: Seed of the noise.

    Returns:
        Values by caption kind, then by noise level.
    """
    kinds = list(altered_captions(held_out.scenes[0]))
    total = torch.zeros(len(kinds), len(LEVELS), dtype=torch.float64)
    for j, level in enumerate(LEVELS):
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, len(held_out.latents), BATCH):
            clean = held_out.latents[start : start + BATCH].float()
            captions = [altered_captions(scene) for scene in held_out.scenes[start : start + BATCH]]
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            noisy, timesteps, target = recipe.add_noise(pipe, clean, noise, torch.full((len(clean),), level).to(clean))
            for i, kind in enumerate(kinds):
                text = recipe.text(pipe, [by_kind[kind] for by_kind in captions])
                error = (recipe.predict(pipe, noisy, timesteps, text) - target).square()
                total[i, j] += error.flatten(1).mean(dim=1).sum().item()
    total /= len(held_out.latents)
    total[1:] -= total[0].clone()
    return {kind: dict(zip(LEVELS, row.tolist(), strict=True)) for kind, row in zip(kinds, total, strict=True)}


def verb_sensitivity(sensitivity: Mapping[str, Mapping[float, float]]) -> float:
    """Mean rise of the loss under wrong verbs at t = 800 to 900."""
    return sum(sensitivity["wrong verbs"][level] for level in VERB_LEVELS) / len(VERB_LEVELS)
