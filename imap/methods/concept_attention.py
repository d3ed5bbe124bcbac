"""ConceptAttention, a baseline from joint attention (arXiv 2502.04320; docs/method.md, 5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup


def concept_attention_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """ConceptAttention: sum over heads of <C, O>, (f, r, p)."""
    assert heads.concepts is not None  # the registry entry reads the concept slots
    return rows(concept_attention(heads.concepts, heads.o))


def concept_attention(c: Tensor, o: Tensor) -> Tensor:
    """Sum over heads of <C[h, t], O[h, f, p]>.

    c: (h, t, d) head outputs of the concept tokens, o: (h, f, p, d). Returns (f, t, p).
    """
    return torch.einsum("htd,hfpd->ftp", c, o)
