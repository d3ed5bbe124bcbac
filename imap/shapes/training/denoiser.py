"""Training of the small transformer on latents of the world's clips."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imap.backbones import backbone_of
from imap.shapes.models import Recipe
from imap.shapes.training.captions import draw_caption
from imap.shapes.training.fit import Fit, adamw
from imap.shapes.training.latent_cache import LatentCache
from imap.shapes.training.muon import Muon


@dataclass(frozen=True)
class Denoising:
    """Settings of the transformer's training."""

    steps: int
    batch: int
    lr: float  # learning rate of AdamW
    matrix_lr: float  # learning rate of Muon
    dropout: float  # share of empty captions, for classifier-free guidance
    one_word: float  # share of single words among the other captions
    foreground: float  # extra weight of object cells; background cells have weight 1


def fit_denoiser(
    recipe: Recipe,
    pipe: Any,
    cache: LatentCache,
    path: Path,
    settings: Denoising,
    seed: int,
    data: Mapping[str, Any],
    every: int,
    report: Callable[[Any, int], str],
) -> Fit:
    """Train the transformer up to `settings.steps`, from a checkpoint if one exists.

    Args:
        recipe: Recipe of the pipeline's family.
        pipe: The pipeline.
        cache: Encoded training clips.
        path: Path of the checkpoint.
        settings: Settings of the training.
        seed: Seed of order, captions and noise.
        data: Further facts that a checkpoint must match.
        every: Steps between reports.
        report: Gets a pipeline with the running mean of the weights, and the step; returns a text to print.

    Returns:
        The finished training; its `mean` has the running mean of the weights.
    """
    transformer = pipe.transformer.train()
    facts = {**asdict(settings), "seed": seed, **data}
    trained = optimizers(transformer, settings.lr, settings.matrix_lr)
    fit = Fit(transformer, path, settings.steps, trained, facts, ema=0.998, anneal=0.5)
    channel_axis = backbone_of(pipe).channel_axis

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(cache.latents), size=settings.batch)
        # high noise is more frequent, because only there a denoiser needs the words
        level = torch.from_numpy(np.sqrt(rng.random(settings.batch))).float()
        generator = torch.Generator().manual_seed(seed * settings.steps + step)
        noise = torch.randn(cache.latents[chosen].shape, generator=generator)
        captions = [draw_caption(cache.scenes[i], rng, settings.dropout, settings.one_word) for i in chosen]
        clean = cache.latents[chosen].float()
        noisy, timesteps, target = recipe.add_noise(pipe, clean, noise.to(clean), level.to(clean))
        predicted = recipe.predict(pipe, noisy, timesteps, recipe.text(pipe, captions))
        weight = 1 + settings.foreground * cache.cover[chosen].float()
        weight = (weight / weight.mean()).unsqueeze(channel_axis)
        return ((predicted - target).square() * weight).mean()

    fit.run(loss_of, every, lambda step: report(averaged_pipeline(pipe, fit), step))
    return fit


def optimizers(transformer: nn.Module, lr: float, matrix_lr: float) -> list[Optimizer]:
    """Muon for the blocks' matrices except those of adaptive norms, AdamW for all other parameters.

    With AdamW alone, few of the heads learn to read words, and they learn slowly.

    Args:
        transformer: The transformer.
        lr: Learning rate of AdamW.
        matrix_lr: Learning rate of Muon.
    """
    named = [(name, weight) for name, weight in transformer.named_parameters() if weight.requires_grad]
    parameters = [(weight, "blocks." in name and "norm" not in name and weight.ndim == 2) for name, weight in named]
    matrices = [weight for weight, is_matrix in parameters if is_matrix]
    others = [weight for weight, is_matrix in parameters if not is_matrix]
    return [Muon(matrices, matrix_lr), adamw(others, lr)]


def averaged_pipeline(pipe: Any, fit: Fit) -> Any:
    """The pipeline with the running mean of the transformer's weights."""
    return type(pipe)(**{**pipe.components, "transformer": fit.mean.module.eval()})
