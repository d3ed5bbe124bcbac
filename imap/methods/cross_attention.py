"""Cross attention, a baseline, and the softmax over texts (docs/method.md, 5)."""

import torch
from torch import Tensor


def text_softmax(x: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Softmax over text slots in which slot t stands for weights[t] equal texts: exp(x_t) / sum_t w_t exp(x_t).

    A slot of weight 0 is no part of that sum; its value is the one that it would have as one text more.
    """
    shape = [1] * x.ndim
    shape[dim] = -1
    weights = weights.view(shape)
    x = x - torch.logsumexp(x + weights.log(), dim=dim, keepdim=True)
    return torch.where(weights > 0, x.clamp(max=0).exp(), x.sigmoid())
