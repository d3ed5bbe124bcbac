"""GramCol: where is a concept, in each frame (arXiv 2603.02919; METHOD 2)."""

import torch
from einops import rearrange
from torch import Tensor

STD_EPSILON = 1e-6


def surrogates(logits: Tensor) -> Tensor:
    """Text-surrogate token of every head, slot and frame: the patch that answers the text key best (METHOD 2.1).

    logits: (h, t, f, p), <Q[h, f, p], K[h, t]>. Returns patch indices inside the frame, (h, f, t).
    """
    return rearrange(logits.argmax(dim=-1), "h t f -> h f t")


def surrogate_outputs(o: Tensor, index: Tensor) -> Tensor:
    """Head outputs at the surrogate tokens. o: (h, f, p, d), index: (h, f, t). Returns (h, f, t, d)."""
    return o.gather(2, index.unsqueeze(-1).expand(*index.shape, o.shape[-1]))


def gram_columns(o: Tensor, s: Tensor) -> Tensor:
    """Column s of the frame's Gram matrix O_f O_f^T, one per slot and never the whole matrix (METHOD 2.2).

    o: (h, f, p, d) head outputs, s: (h, f, t, d) surrogate outputs. Returns (h, f, t, p).
    """
    return s @ o.transpose(-1, -2)


def standardized_columns(o: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Gram columns standardized over the text axis: (G - mean_t G) / (std_t G + 1e-6), unbiased std (METHOD 2.3).

    o: (h, f, p, d), index: (h, f, t), weights: (t,) how many equal texts a slot stands for; a slot of weight 0 is
    standardized by the others and does not move them. Returns (h, f, t, p).

    G is linear in the surrogate output, so the mean is taken off the surrogates before the product: one pass less over
    (t, p), and no cancellation of large equal numbers.
    """
    s = surrogate_outputs(o, index)
    total = weights.sum()
    mean = (weights[:, None] * s).sum(dim=-2, keepdim=True) / total
    centred = gram_columns(o, s - mean)
    variance = torch.einsum("t,hftp->hfp", weights, centred.square()) / (total - 1)
    z = centred / (variance.sqrt() + STD_EPSILON).unsqueeze(-2)
    return z * has_spread(index, weights)[..., None, None]


def has_spread(index: Tensor, weights: Tensor) -> Tensor:
    """Whether the texts of a head and frame pick more than one surrogate: index (h, f, t) gives (h, f) booleans.

    Where all pick the same one the true spread is 0, and what float32 leaves of it would be divided by 1e-6.
    """
    counted = weights > 0
    low = index.masked_fill(~counted, torch.iinfo(index.dtype).max).amin(dim=-1)
    high = index.masked_fill(~counted, -1).amax(dim=-1)
    return high > low
