"""Interface between training and a model family: construction of the pipeline, noise, and training target."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imap.shapes.world.scenes import NOUNS, VERBS

WORDS = " ".join((*NOUNS, *VERBS, "a", "while"))
LAYERS, HEADS, HEAD_WIDTH = 4, 8, 16
LATENT_CHANNELS = 8
TEXT_WIDTH = 96
TEXT_SLOTS = 16  # a caption has eight tokens
TRAIN_TIMESTEPS = 1000


class Recipe(ABC):
    """A small pipeline of one family, with its training objective."""

    family: ClassVar[str]

    @abstractmethod
    def build(self, seed: int = 0) -> Any:
        """The untrained pipeline on the CPU in float32; the same seed gives the same weights."""

    @abstractmethod
    def set_statistics(self, vae: Any, mean: Tensor, std: Tensor) -> None:
        """Write the mean and deviation (channels,) of the world's latents into the VAE's configuration."""

    @abstractmethod
    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        """Text arguments of the transformer, encoded by the pipeline."""

    @abstractmethod
    def add_noise(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add noise to latents.

        Args:
            pipe: The pipeline.
            clean: Latents (b, ...).
            noise: Standard normal noise of the same shape.
            level: Noise levels (b,) in [0, 1).

        Returns:
            Noisy latents, their timesteps (b,), and the transformer's target.
        """

    @abstractmethod
    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        """One call of the transformer."""


@torch.no_grad()
def freeze_gates_at_zero(linear: nn.Linear, gates: Sequence[int], parts: int = 6) -> None:
    """Set some modulation outputs of an adaptive norm to zero, and keep them at zero during training.

    These outputs are the gates with which a block changes the text. With closed gates the text states stay the
    encoder's. A model of this size would otherwise store other information in the few text tokens. Video tokens would
    then no longer find words by their meaning.

    Args:
        linear: Layer that computes the norm's shifts, scales and gates.
        gates: Indices of the parts to close.
        parts: Number of equal parts of the layer's output.
    """
    is_open = torch.ones(parts, linear.out_features // parts)
    is_open[list(gates)] = 0
    for parameter in linear.parameters():
        mask = is_open.flatten() if parameter.ndim == 1 else is_open.view(-1, 1)
        parameter.mul_(mask)
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient))


def flow(clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rectified flow, the objective of Wan and HunyuanVideo: a straight line from clip to noise, and its direction.

    Args:
        clean: Latents (b, ...).
        noise: Noise of the same shape.
        level: Noise levels (b,) in [0, 1).

    Returns:
        Noisy latents, timesteps (b,), and the target `noise - clean`.
    """
    sigma = level.view(-1, *[1] * (clean.ndim - 1))
    return torch.lerp(clean, noise, sigma), level * TRAIN_TIMESTEPS, noise - clean
