"""Random weights that depend on a seed alone and leave the caller's random numbers as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's CPU generator inside the `with`, makes tensors on the CPU, and restores the state after."""
    # Not torch.manual_seed, which also seeds every accelerator, where there would be a state to restore.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield
