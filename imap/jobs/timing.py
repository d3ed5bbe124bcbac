"""How long each stage of a job takes, and how far it is."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import torch

from imap.jobs.noise_schedule import with_method

# is called at the start of a stage (name, 0, 0), and in "denoise" with (name, steps that are done, all steps).
# What it raises ends the job.
Progress = Callable[[str, int, int], None]


class Stages:
    """Seconds by stage. Waits for the device at the ends of a stage, so never inside the denoising loop."""

    def __init__(self, device: torch.device, progress: Progress | None = None) -> None:
        self.device = device
        self.progress: Progress = progress or _no_progress
        self.seconds: dict[str, float] = {}
        self.latents: Any = None  # Tensor, of the last step of the latest call

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.progress(name, 0, 0)
        start = now(self.device)
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + now(self.device) - start, 4)

    @contextmanager
    def denoise_then(
        self, last_step: int, after: str, place: tuple[int, int] | None = None, pipe: Any = None
    ) -> Iterator[dict[str, Any]]:
        """Time a pipeline call as `denoise` up to the end of its last step, then as `after`.

        Gives the arguments to pass to the call. Afterwards `latents` are those of the last step.

        Args:
            last_step: index of the call's last step.
            after: stage that follows the steps.
            place: for one call of several, the steps of the calls before it, and of all calls.
            pipe: of the call. If it takes no callback, a step ends with that of its scheduler.
        """
        before, steps = place or (0, last_step + 1)
        self.progress("denoise", before, steps)
        start, loop_end = now(self.device), None

        def at_step_end(pipe: Any, step: int, timestep: Any, tensors: dict) -> dict:
            nonlocal loop_end
            if step == last_step:
                loop_end, self.latents = now(self.device), tensors.get("latents")
            self.progress("denoise", before + step + 1, steps)
            if step == last_step:
                self.progress(after, 0, 0)
            return tensors

        with _at_step_ends(pipe, at_step_end) as arguments:
            yield arguments
        end = now(self.device)
        loop_end = loop_end or end
        self.seconds["denoise"] = round(self.seconds.get("denoise", 0.0) + loop_end - start, 4)
        self.seconds[after] = round(self.seconds.get(after, 0.0) + end - loop_end, 4)


@contextmanager
def _at_step_ends(pipe: Any, at_step_end: Callable[..., dict]) -> Iterator[dict[str, Any]]:
    """Call a function at the end of each step of a pipeline call in this block. Gives the arguments to pass to it."""
    if pipe is None or "callback_on_step_end" in signature(type(pipe).__call__).parameters:
        yield {"callback_on_step_end": at_step_end}
        return
    own, count = pipe.scheduler.step, itertools.count()

    @wraps(own)
    def step(*args: Any, **kwargs: Any) -> Any:
        result = own(*args, **kwargs)
        at_step_end(pipe, next(count), None, {"latents": result[0]})
        return result

    with with_method(pipe.scheduler, "step", step):
        yield {}


def _no_progress(stage: str, done: int, steps: int) -> None:
    pass


def now(device: torch.device) -> float:
    """Seconds, once the work given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
