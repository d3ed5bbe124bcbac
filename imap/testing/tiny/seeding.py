"""Random weights that depend only on a seed and do not change the caller's random numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, create tensors on the CPU, and restore the generator's state at the end."""
    # torch.manual_seed would also seed every accelerator, and their states would have to be restored.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield
