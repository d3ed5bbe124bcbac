"""Baseline of IMAP: the mean over as many heads as there are motion heads, drawn at random."""

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from imap.methods.registry import RANDOM_HEADS, SaliencyMap

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup


def random_heads_maps(draws: int) -> tuple[SaliencyMap, ...]:
    """One map per draw, `random_heads_1` and so on. Draw n is the same in every run."""
    return tuple(
        SaliencyMap(f"{RANDOM_HEADS}_{n}", f"random heads {n}", partial(random_heads_map, draw=n))
        for n in range(1, draws + 1)
    )


def random_heads_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor], draw: int) -> Tensor:
    """Mean over random heads of the Gram columns, (f, r, p), as IMAP is over motion heads.

    A draw takes heads of the same numbers in all layers and steps: a head's number means nothing in another layer.
    """
    own = slice(heads.first, heads.first + len(heads.o))
    drawn = random_order(heads.count, draw, heads.o.device)[own] < heads.motion_heads
    return torch.einsum("h,hfrp->frp", drawn / heads.motion_heads.clamp(min=1), heads.columns)


@cache
def random_order(count: int, draw: int, device: torch.device) -> Tensor:
    """Place of each head in the order of a draw, (count,), on the device once."""
    return torch.from_numpy(np.random.default_rng(draw).permutation(count)).to(device)
