"""A job that needs more memory than a GPU has: keep more of the model on the CPU, and run the job again."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from accelerate.hooks import CpuOffload

from imap.errors import ImapError, first_line
from imap.runs.loading import place
from imap.tracing.compatibility import diffusers_hooks
from imap.tracing.out_of_memory import free_memory_of, is_out_of_memory

log = logging.getLogger("imap")
SAFER = {"none": "model", "model": "sequential"}  # the same kernels on the same device, so results stay as they are
Result = TypeVar("Result")


def offload_of(pipe: Any) -> str:
    """How a pipeline is placed: `none`, `model`, `group` or `sequential`. It may have changed since it was loaded.

    A transformer over several GPUs has hooks of accelerate too, and is not offloaded.
    """
    if _is_spread(pipe):
        return "none"
    if any("group_offloading" in x for module in pipe.transformer.modules() for x in diffusers_hooks(module)):
        return "group"
    hooks = [part._hf_hook for part in pipe.components.values() if hasattr(part, "_hf_hook")]
    if any(isinstance(hook, CpuOffload) for hook in hooks):
        return "model"
    return "sequential" if hooks else "none"


def with_less_memory(pipe: Any, job: Callable[[], Result]) -> Result:
    """The result of a job. If GPU memory runs out, the job is run again with a safer offload, which then stays.

    VAE slicing would not help, since it cuts batches and a clip is a batch of one. VAE tiling would change pixels.

    Raises:
        ImapError: if no offload helps; it says what to set.
    """
    while True:
        try:
            return job()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            free_memory_of(error)
            device, offload, reason = pipe._execution_device, safer_offload(pipe), first_line(error)
            if offload is None:
                raise ImapError(f"out of memory on {device}: {reason}; {_advice(pipe)}") from error
        log.warning("out of memory on %s (%s); offload=%s from now on: slower, the same maps", device, reason, offload)
        place(pipe, offload, device)


def safer_offload(pipe: Any) -> str | None:
    """The offload that takes less GPU memory than that of the pipeline; None if there is none."""
    if _is_spread(pipe) or pipe._execution_device.type != "cuda":
        return None
    safer = SAFER.get(offload_of(pipe))
    # quantized weights are not moved layer by layer
    return None if safer == "sequential" and getattr(pipe.transformer, "hf_quantizer", None) else safer


def _is_spread(pipe: Any) -> bool:
    """Whether the transformer's blocks are on several GPUs."""
    return bool(getattr(pipe.transformer, "hf_device_map", None))


def _advice(pipe: Any) -> str:
    smaller = "a smaller height, width or num_frames"
    if pipe._execution_device.type == "cpu":
        return f"set {smaller}, or use a machine with more memory"
    tiling = "" if pipe.vae.use_tiling else "backbone.vae_tiling=true (slightly different pixels), "
    return f"set {tiling}{smaller}, or use a larger GPU"
