"""Memory that ran out: which errors say so, and how to free what the failed work held."""

import gc
import traceback

import torch

SAID = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory of the device, or of the CPU, ran out."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(x in str(error).lower() for x in SAID)


def free_memory_of(error: BaseException) -> None:
    """Drop the variables of the functions that an error has ended, and return cached memory to the device.

    The lines of the traceback stay. Variables of functions that still run stay too.
    """
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one = one.__cause__ or one.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
