"""The small VAE of a family: real 8x8 pixels and 4 frames to a latent cell, trained on windows of the world's clips.

Its latents are anchored to the colours that they stand for. Left alone, a VAE of this size hides a colour in a code of
its own, and a denoiser that must first break that code finds no nouns. (Latents of the published VAEs are nearly linear
in colour too: that is how they are previewed.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from imap.shapes.training.fit import Fit, adamw
from imap.shapes.world.drawing import TEMPORAL, Drawn, draw, to_video
from imap.shapes.world.scenes import scenes

SEEDS = 10_000_000  # of the autoencoder's clips, apart from every other use
COLOURS = 12  # of the four quarters of a cell, three each
DARK, BRIGHT = -0.7, 3.0  # a background's colour in [-1, 1]; what makes latents of colours about one


@dataclass(frozen=True)
class Autoencoding:
    """How the VAE is trained."""

    steps: int
    batch: int
    window: int  # frames of a clip that a step sees
    lr: float
    kl: float  # weight of the Kullback-Leibler term
    anchor: float  # weight of the latents' squared distance to a linear map of the colours
    foreground: float  # weight of an object's pixel over one of the background, less one


def fit_autoencoder(
    vae: nn.Module, path: Path, how: Autoencoding, clip: tuple[int, int, int], seed: int, data: Mapping[str, Any]
) -> Fit:
    """Train a VAE on clips of (frames, height, width) until `how.steps`; the running mean is in the Fit's `mean`.

    data: what else a checkpoint must have been trained on."""
    optimizers = [adamw(vae.parameters(), how.lr)]
    fit = Fit(vae.train(), path, how.steps, optimizers, {**asdict(how), "seed": seed, **data}, ema=0.99, anneal=0.6)
    device = next(vae.parameters()).device

    def loss_of(step: int) -> Tensor:
        rng = torch.Generator().manual_seed(SEEDS + seed * how.steps + step)
        drawn = draw(list(scenes(SEEDS + seed * how.steps + step, how.batch)), *clip, device)
        start = int(torch.randint(0, clip[0] - how.window + 1, (1,), generator=rng))
        video = to_video(drawn.frames[:, start : start + how.window])
        weight = rearrange(drawn.masks[:, :, start : start + how.window].any(dim=1), "b f h w -> b 1 f h w")
        posterior = vae.encode(video).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng).to(device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        error = ((decoded - video).square() * (1 + how.foreground * weight)).mean()
        distance = (posterior.mean - anchors(video, posterior.mean.shape)).square().mean()
        return error + how.anchor * distance + how.kl * kl(posterior.mean, posterior.logvar)

    fit.run(loss_of)
    return fit


def anchors(video: Tensor, shape: Sequence[int]) -> Tensor:
    """Where latents of a shape (b, c, F, h, w) are drawn to: mean colours of the quarters of each cell, mixed linearly.

    video: (b, 3, f, height, width) in [-1, 1]. Raises ValueError for more than COLOURS channels.
    """
    _, channels, _, height, width = shape
    if channels > COLOURS:
        raise ValueError(f"latents of at most {COLOURS} channels can be anchored to colours, not of {channels}")
    quarters = reduce(video, "b c f (h a) (w e) -> b c f h w", "mean", h=2 * height, w=2 * width)
    first, rest = quarters[:, :, :1], reduce(quarters[:, :, 1:], "b c (f t) h w -> b c f h w", "mean", t=TEMPORAL)
    colours = rearrange(torch.cat([first, rest], dim=2), "b c f (h a) (w e) -> b f h w (c a e)", a=2, e=2)
    mixing = torch.linalg.qr(torch.randn(COLOURS, channels, generator=torch.Generator().manual_seed(0))).Q
    return rearrange(BRIGHT * (colours - DARK) @ mixing.to(video), "b f h w c -> b c f h w")


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Mean over latents of the divergence from a standard normal, in nats."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


@torch.no_grad()
def quality(vae: nn.Module, drawn: Drawn) -> tuple[float, float]:
    """Peak signal-to-noise ratio in dB of decoded clips: all pixels, and those of objects."""
    video = to_video(drawn.frames)
    decoded = vae.decode(vae.encode(video).latent_dist.mode()).sample.clamp(-1, 1)
    error = reduce((decoded - video).square(), "b c f h w -> b f h w", "mean")
    return tuple(10 * math.log10(4 / x.mean().item()) for x in (error, error[drawn.masks.any(dim=1)]))
