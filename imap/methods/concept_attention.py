"""ConceptAttention, a baseline from joint attention (arXiv 2502.04320; docs/method.md, 5)."""

import torch
from torch import Tensor


def concept_attention(c: Tensor, o: Tensor) -> Tensor:
    """ConceptAttention (arXiv 2502.04320): sum over heads of <C[h, t], O[h, f, p]>.

    c: (h, t, d) head outputs of the concept tokens, o: (h, f, p, d). Returns (f, t, p).
    """
    return torch.einsum("htd,hfpd->ftp", c, o)
