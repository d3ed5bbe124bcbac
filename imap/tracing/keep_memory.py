"""Log and check the memory that maps of single layers and steps take, before they are read."""

import logging
from functools import cache

import psutil
import torch

from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.by_layer import LAYERS
from imap.methods.keep import kept_bytes

log = logging.getLogger("imap")
SHARE = 2 / 3  # of the free memory: what is kept is copied in parts when it is collected
GIB = 2**30


def check_memory(
    method: Method, steps: int, texts: int, keys: int, cells: int, device: torch.device | None = None
) -> None:
    """Log how much memory `keep` takes.

    Args:
        method: the settings.
        steps: that are read.
        texts: how many words.
        keys: maps of a layer.
        cells: of a map.
        device: of the model. None leaves the memory of a GPU out.

    Raises:
        ImapError: if it is more than two thirds of the free memory.
    """
    if not method.keep:
        return
    layers, name = len(method.layers), f"keep=[{','.join(method.keep)}]"
    keys += bool(method.effect)
    needed = kept_bytes(method.keep, layers, steps, texts, keys, cells)
    counts = [_counted(*x) for x in ((layers, "layer"), (steps, "step"), (texts, "word"))]
    line = "{}: maps of {}, {} and {} take {}".format(name, *counts, _gib(needed))
    places = [("memory", needed, psutil.virtual_memory().available)]
    if device is not None and device.type == "cuda":
        on_device = sum(kept_bytes([one], layers, steps, texts, keys, cells) for one in method.keep)
        on_device += (
            kept_bytes([LAYERS], layers, steps, texts, keys, cells) if LAYERS in method.keep else 0
        )  # of a step
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch gives it out again
        places.append(("memory of the GPU", on_device, torch.cuda.mem_get_info(device)[0] + cached))
    for where, bytes_there, free in places:
        if bytes_there > SHARE * free:
            raise ImapError(
                f"{line}, and {_gib(free)} of {where} are free; keep layers or steps alone, name fewer words, or "
                "narrow maps_layers or maps_timesteps"
            )
    _log_once(f"{line} of memory, and as much on disk")


@cache
def _log_once(line: str) -> None:
    log.info("%s", line)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{max(count / 2**20, 0.1):.1f} MiB"
