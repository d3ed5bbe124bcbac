"""How many heads are processed at once: this bounds memory for 48 heads or 512 text slots."""

import torch
from torch import Tensor

CPU_WORKING_SET = 4 * 2**20  # bytes of float32 per group of heads: fits a CPU's caches
WORKING_SET = 96 * 2**20  # on other devices: enough to keep them busy


def head_groups(visual: Tensor, slots: int) -> list[slice]:
    """Groups of heads whose visual features (h, ..., d) and maps of `slots` texts fit the working set together."""
    heads, width = visual.shape[0], visual.shape[-1]
    tokens = visual[0].numel() // width
    size = max(1, working_set(visual.device) // (4 * tokens * (2 * width + 3 * slots)))
    return [slice(start, min(start + size, heads)) for start in range(0, heads, size)]


def working_set(device: torch.device) -> int:
    """Bytes that a group of heads may use on a device."""
    return CPU_WORKING_SET if device.type == "cpu" else WORKING_SET
