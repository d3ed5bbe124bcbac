"""How many heads are worked on at once: what bounds memory for 48 heads, or for 512 text slots."""

import torch
from torch import Tensor

CPU_WORKING_SET = 4 * 2**20  # bytes of float32 that one group of heads may take: on a CPU what stays in its caches,
WORKING_SET = 96 * 2**20  # elsewhere enough to keep the device busy


def head_groups(visual: Tensor, slots: int) -> list[slice]:
    """Groups of heads whose visual features (h, ..., d) and maps of `slots` texts fit the working set together."""
    heads, width = visual.shape[0], visual.shape[-1]
    tokens = visual[0].numel() // width
    size = max(1, working_set(visual.device) // (4 * tokens * (2 * width + 3 * slots)))
    return [slice(start, min(start + size, heads)) for start in range(0, heads, size)]


def working_set(device: torch.device) -> int:
    """Bytes that a group of heads may take on a device."""
    return CPU_WORKING_SET if device.type == "cpu" else WORKING_SET
