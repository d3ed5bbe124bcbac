"""What training must know of a family: how its pipeline is laid out, how it adds noise, and what it predicts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from imap.shapes.world.scenes import NOUNS, VERBS

WORDS = " ".join((*NOUNS, *VERBS, "a", "while"))
LAYERS, HEADS, HEAD_WIDTH = 4, 8, 16
LATENT_CHANNELS = 8
TEXT_WIDTH = 96
TEXT_SLOTS = 16  # a caption has eight tokens
TRAIN_TIMESTEPS = 1000


class Recipe(ABC):
    """A small pipeline of one family, and its training objective."""

    family: ClassVar[str]

    @abstractmethod
    def build(self, seed: int = 0) -> DiffusionPipeline:
        """The pipeline on the CPU in float32, not yet trained; the same seed gives the same weights."""

    @abstractmethod
    def set_statistics(self, vae: nn.Module, mean: Tensor, std: Tensor) -> None:
        """Tell the VAE's configuration the mean and deviation (channels,) of its latents over the world."""

    @abstractmethod
    def text(self, pipe: Any, captions: Sequence[str]) -> dict[str, Tensor]:
        """Text arguments of the transformer, through the pipeline's own encoding."""

    @abstractmethod
    def noised(self, pipe: Any, clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents at noise levels (b,) in [0, 1), their timesteps (b,), and what the transformer should predict."""

    @abstractmethod
    def predict(self, pipe: Any, latents: Tensor, timesteps: Tensor, text: dict[str, Tensor]) -> Tensor:
        """One call of the transformer."""


@torch.no_grad()
def shut(linear: nn.Linear, gates: Sequence[int], parts: int = 6) -> None:
    """Keep some of the `parts` equal parts of what a norm's layer modulates by at zero, for good.

    Where they are the gates by which a block rewrites the text, words stay what the encoder said. Else a model of this
    size makes the few words its scratch pad, and its video no longer finds them by their meaning.
    """
    open_ = torch.ones(parts, linear.out_features // parts)
    open_[list(gates)] = 0
    for parameter in linear.parameters():
        mask = open_.flatten() if parameter.ndim == 1 else open_.view(-1, 1)
        parameter.mul_(mask)
        parameter.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient))


def flow(clean: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rectified flow, as Wan and HunyuanVideo were trained: the straight line from clip to noise, and its direction."""
    sigma = level.view(-1, *[1] * (clean.ndim - 1))
    return torch.lerp(clean, noise, sigma), level * TRAIN_TIMESTEPS, noise - clean
