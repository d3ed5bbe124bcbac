"""Noise schedules: noise a clip to one step, run a stock pipeline on a part (docs/method.md, 7)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor


def add_noise_at(scheduler: Any, clean: Tensor, noise: Tensor, index: int) -> Tensor:
    """Latents with the noise of step `index`. The scheduler's timesteps must be set."""
    timestep = scheduler.timesteps[index : index + 1]
    if hasattr(scheduler, "set_begin_index"):
        # the index is exact, while two steps may share a timestep that is cut to an integer
        scheduler.set_begin_index(index)
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, timestep, noise)
    return scheduler.add_noise(clean, noise, timestep)


@contextmanager
def truncated_schedule(scheduler: Any, start: int, stop: int | None) -> Iterator[None]:
    """Pipeline calls in this block run only steps [start, stop) of their schedule.

    The pipeline sets its own schedule as usual, and the result is cut. Afterwards `set_timesteps` is the scheduler's
    own again; the cut schedule stays until the next pipeline call sets a new one.
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
