"""Noise schedules: a clip at one of their steps, and a stock pipeline on a part of them (METHOD 7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor


def add_noise_at(scheduler: Any, clean: Tensor, noise: Tensor, index: int) -> Tensor:
    """Latents with the noise of step `index` of the scheduler's schedule, which must be set."""
    timestep = scheduler.timesteps[index : index + 1]
    if hasattr(scheduler, "set_begin_index"):
        # names the step exactly: two steps may share a timestep once it is cut to a whole number
        scheduler.set_begin_index(index)
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, timestep, noise)
    return scheduler.add_noise(clean, noise, timestep)


@contextmanager
def truncated_schedule(scheduler: Any, start: int, stop: int | None) -> Iterator[None]:
    """Let pipeline calls in this block run steps [start, stop) of their schedule only.

    The pipeline sets its own schedule as ever; what it then finds is cut to the part. Nothing stays on the scheduler.
    """
    own = scheduler.__dict__.get("set_timesteps")
    whole = scheduler.set_timesteps

    @wraps(whole)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        whole(*args, **kwargs)
        scheduler.timesteps = scheduler.timesteps[start:stop]
        if getattr(scheduler, "sigmas", None) is not None:
            scheduler.sigmas = scheduler.sigmas[start : None if stop is None else stop + 1]

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        if own is None:
            del scheduler.set_timesteps
        else:
            scheduler.set_timesteps = own
