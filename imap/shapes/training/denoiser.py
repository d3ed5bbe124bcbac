"""The small transformer, trained on latents of the world's clips."""

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
from imap.shapes.training.latent_cache import Bank
from imap.shapes.training.muon import Muon


@dataclass(frozen=True)
class Denoising:
    """How the transformer is trained."""

    steps: int
    batch: int
    lr: float  # of AdamW
    matrix_lr: float  # of Muon
    dropout: float  # share of captions left empty, for guidance
    one_word: float  # share of the others that are a single word
    foreground: float  # weight of an object's cell over one of the background, less one


def fit_denoiser(
    recipe: Recipe,
    pipe: Any,
    bank: Bank,
    path: Path,
    how: Denoising,
    seed: int,
    data: Mapping[str, Any],
    every: int,
    event: Callable[[Any, int], str],
) -> Fit:
    """Train the transformer; event is given a pipeline of the running mean each `every` steps. data: what a checkpoint
    must have been trained on."""
    transformer = pipe.transformer.train()
    trained = optimizers(transformer, how.lr, how.matrix_lr)
    fit = Fit(transformer, path, how.steps, trained, {**asdict(how), "seed": seed, **data}, ema=0.998, anneal=0.5)
    channel_axis = backbone_of(pipe).channel_axis

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(bank.latents), size=how.batch)
        # high noise more often: only there does a denoiser need the words
        level = torch.from_numpy(np.sqrt(rng.random(how.batch))).float()
        noise = torch.randn(
            bank.latents[chosen].shape, generator=torch.Generator().manual_seed(seed * how.steps + step)
        )
        captions = [draw_caption(bank.scenes[i], rng, how.dropout, how.one_word) for i in chosen]
        clean = bank.latents[chosen].float()
        noisy, timesteps, target = recipe.noised(pipe, clean, noise.to(clean), level.to(clean))
        predicted = recipe.predict(pipe, noisy, timesteps, recipe.text(pipe, captions))
        weight = 1 + how.foreground * bank.cover[chosen].float()
        weight = (weight / weight.mean()).unsqueeze(channel_axis)
        return ((predicted - target).square() * weight).mean()

    fit.run(loss_of, every, lambda step: event(averaged(pipe, fit), step))
    return fit


def optimizers(transformer: nn.Module, lr: float, matrix_lr: float) -> list[Optimizer]:
    """Muon for the blocks' matrices but those of their norms (adaLN), AdamW for all else.

    With AdamW alone few heads of many learn to look words up, and slowly.
    """
    named = [(name, weight) for name, weight in transformer.named_parameters() if weight.requires_grad]
    parameters = [(weight, "blocks." in name and "norm" not in name and weight.ndim == 2) for name, weight in named]
    matrices = [weight for weight, is_matrix in parameters if is_matrix]
    others = [weight for weight, is_matrix in parameters if not is_matrix]
    return [Muon(matrices, matrix_lr), adamw(others, lr)]


def averaged(pipe: Any, fit: Fit) -> Any:
    """The pipeline with the running mean of its weights."""
    return type(pipe)(**{**pipe.components, "transformer": fit.mean.module.eval()})
