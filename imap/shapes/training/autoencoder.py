"""Training of a family's small VAE, whose latent cell covers 8x8 pixels and 4 frames, on windows of the world's clips.

A loss term keeps the latents near a linear map of their cell's colours. Without it, a VAE of this size encodes colours
arbitrarily, and a small denoiser does not learn the nouns. Latents of the published VAEs are also nearly linear in
colour, which is why linear previews of them work.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor

from imap.shapes.training.fit import Fit, adamw
from imap.shapes.world.drawing import TEMPORAL, Drawn, draw, to_video
from imap.shapes.world.scenes import scenes

SEEDS = 10_000_000  # first seed of the autoencoder's clips; no other use has these seeds
COLOURS = 12  # colour values of a cell: four quarters, three channels
DARK, BRIGHT = -0.7, 3.0  # background colour in [-1, 1]; factor that gives colours a size of about one


@dataclass(frozen=True)
class Autoencoding:
    """Settings of the VAE's training."""

    steps: int
    batch: int
    window: int  # frames per clip in a step
    lr: float
    kl: float  # weight of the Kullback-Leibler term
    anchor: float  # weight of the latents' squared distance to a linear map of the colours
    foreground: float  # extra weight of object pixels; background pixels have weight 1


def fit_autoencoder(
    vae: Any, path: Path, settings: Autoencoding, clip: tuple[int, int, int], seed: int, data: Mapping[str, Any]
) -> Fit:
    """Train a VAE up to `settings.steps`, from a checkpoint if one exists.

    Args:
        vae: The VAE.
        path: Path of the checkpoint.
        settings: Settings of the training.
        clip: Frames, height and width of a clip.
        seed: Seed of clips, windows and noise.
        data: Further facts that a checkpoint must match.

    Returns:
        The finished training; its `mean` has the running mean of the weights.
    """
    facts = {**asdict(settings), "seed": seed, **data}
    optimizers = [adamw(vae.parameters(), settings.lr)]
    fit = Fit(vae.train(), path, settings.steps, optimizers, facts, ema=0.99, anneal=0.6)
    first_seed = SEEDS + seed * settings.steps
    device = next(vae.parameters()).device

    def loss_of(step: int) -> Tensor:
        rng = torch.Generator().manual_seed(first_seed + step)
        drawn = draw(list(scenes(first_seed + step, settings.batch)), *clip, device)
        start = int(torch.randint(0, clip[0] - settings.window + 1, (1,), generator=rng))
        window = slice(start, start + settings.window)
        video = to_video(drawn.frames[:, window])
        is_object = rearrange(drawn.masks[:, :, window].any(dim=1), "b f h w -> b 1 f h w")
        posterior = vae.encode(video).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng).to(device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        error = ((decoded - video).square() * (1 + settings.foreground * is_object)).mean()
        distance = (posterior.mean - anchors(video, posterior.mean.shape)).square().mean()
        return error + settings.anchor * distance + settings.kl * kl(posterior.mean, posterior.logvar)

    fit.run(loss_of)
    return fit


def anchors(video: Tensor, shape: Sequence[int]) -> Tensor:
    """Targets of the anchor loss: mean colours of the four quarters of each latent cell, mixed linearly.

    Args:
        video: (b, 3, f, height, width) in [-1, 1].
        shape: Shape of the latents, (b, c, F, h, w).

    Returns:
        Targets of that shape.

    Raises:
        ValueError: The latents have more than COLOURS channels.
    """
    _, channels, _, height, width = shape
    if channels > COLOURS:
        raise ValueError(f"latents have {channels} channels; at most {COLOURS} can be anchored to colours")
    quarters = reduce(video, "b c f (h a) (w e) -> b c f h w", "mean", h=2 * height, w=2 * width)
    first, rest = quarters[:, :, :1], reduce(quarters[:, :, 1:], "b c (f t) h w -> b c f h w", "mean", t=TEMPORAL)
    colours = rearrange(torch.cat([first, rest], dim=2), "b c f (h a) (w e) -> b f h w (c a e)", a=2, e=2)
    mixing = torch.linalg.qr(torch.randn(COLOURS, channels, generator=torch.Generator().manual_seed(0))).Q
    return rearrange(BRIGHT * (colours - DARK) @ mixing.to(video), "b f h w c -> b c f h w")


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a standard normal distribution, mean over latents, in nats."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


@torch.no_grad()
def quality(vae: Any, drawn: Drawn) -> tuple[float, float]:
    """Peak signal-to-noise ratio of decoded clips in dB, of all pixels and of object pixels."""
    video = to_video(drawn.frames)
    decoded = vae.decode(vae.encode(video).latent_dist.mode()).sample.clamp(-1, 1)
    error = reduce((decoded - video).square(), "b c f h w -> b f h w", "mean")
    every, objects = (10 * math.log10(4 / x.mean().item()) for x in (error, error[drawn.masks.any(dim=1)]))
    return every, objects
