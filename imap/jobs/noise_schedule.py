"""Noise schedules: noise a clip to one step, run a stock pipeline on a part (docs/method.md, 7)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from imap.backbones.base import Backbone


def add_noise_at(scheduler: Any, clean: Tensor, noise: Tensor, index: int) -> Tensor:
    """Latents with the noise of step `index`. The scheduler's timesteps must be set."""
    timestep = scheduler.timesteps[index : index + 1]
    if hasattr(scheduler, "set_begin_index"):
        # the index is exact, while two steps may share a timestep that is cut to an integer
        scheduler.set_begin_index(index)
    if scheduler.config.get("invert_sigmas"):  # of Mochi: a sigma is the share of the clip, not of the noise
        clean, noise = noise, clean
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, timestep, noise)
    return scheduler.add_noise(clean, noise, timestep)


class _ScheduleIsSet(Exception):
    """Ends a pipeline call that has set its schedule."""


def set_schedule(pipe: Any, **arguments: Any) -> None:
    """Set the scheduler's schedule as a call of the stock pipeline does. The call ends there: no step runs.

    arguments: of the call, with the text encoded and `latents`.
    """
    whole = pipe.scheduler.set_timesteps

    @wraps(whole)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        whole(*args, **kwargs)
        raise _ScheduleIsSet

    with with_method(pipe.scheduler, "set_timesteps", set_timesteps), suppress(_ScheduleIsSet):
        pipe(**arguments, generator=torch.Generator().manual_seed(0), output_type="latent")


def timesteps_of(backbone: Backbone, steps: int, frames: int, height: int, width: int) -> Tensor:
    """Timesteps of the stock pipeline's schedule of `steps` steps, for a video of this size."""
    clean = torch.zeros(backbone.latent_shape(frames, height, width), dtype=backbone.latent_dtype)
    with torch.no_grad():
        text = backbone.encode_prompt("", None)
    pictures = {name: Image.new("RGB", (width, height)) for name in backbone.images}
    call = text | backbone.size_arguments(**backbone.pixels_of(clean)) | pictures
    with backbone.guidance(1.0, conditional_only=True) as guidance:
        set_schedule(backbone.pipe, **call, **guidance, num_inference_steps=steps, latents=backbone.to_pipeline(clean))
    return backbone.pipe.scheduler.timesteps


@contextmanager
def truncated_schedule(scheduler: Any, start: int, stop: int | None) -> Iterator[None]:
    """Pipeline calls in this block run only steps [start, stop) of their schedule.

    The pipeline sets its own schedule as usual, and the result is cut. Afterwards `set_timesteps` is the scheduler's
    own again; the cut schedule stays until the next pipeline call sets a new one.
    """
    whole = scheduler.set_timesteps

    @wraps(whole)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        whole(*args, **kwargs)
        scheduler.timesteps = scheduler.timesteps[start:stop]
        if getattr(scheduler, "sigmas", None) is not None:
            scheduler.sigmas = scheduler.sigmas[start : None if stop is None else stop + 1]

    with with_method(scheduler, "set_timesteps", set_timesteps):
        yield


@contextmanager
def with_method(scheduler: Any, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """The scheduler with another method of this name. Afterwards it has its own again."""
    own = vars(scheduler).get(name)
    setattr(scheduler, name, method)
    try:
        yield
    finally:
        if own is None:
            delattr(scheduler, name)
        else:
            setattr(scheduler, name, own)


@contextmanager
def no_progress_bar(pipe: Any) -> Iterator[None]:
    """Disable the pipeline's progress bar: one step of fifty would leave it at 2 %."""
    before = getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(**{**(before or {}), "disable": True})
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe._progress_bar_config = before
