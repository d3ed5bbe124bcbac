"""GramCol: where is a concept, in each frame (arXiv 2603.02919; METHOD 2)."""

import torch
from torch import Tensor

STD_EPSILON = 1e-6


def matches(q: Tensor, keys: Tensor) -> Tensor:
    """QK-matching: how well each patch answers each text key, <Q[h, f, p], K[h, t]> (METHOD 2.1).

    q: (h, f, p, d) visual queries, keys: (h, t, d). Returns (h, f, t, p).
    """
    return keys.unsqueeze(1) @ q.transpose(-1, -2)


def surrogates(logits: Tensor) -> Tensor:
    """Text-surrogate token of every head, frame and slot: the patch that answers the text key best (METHOD 2.1).

    logits: (h, f, t, p), from `matches`. Returns patch indices inside the frame, (h, f, t).
    """
    return logits.argmax(dim=-1)


def surrogate_outputs(o: Tensor, index: Tensor) -> Tensor:
    """Head outputs at the surrogate tokens. o: (h, f, p, d), index: (h, f, t). Returns (h, f, t, d)."""
    return o.gather(2, index.unsqueeze(-1).expand(*index.shape, o.shape[-1]))


def gram_columns(o: Tensor, s: Tensor) -> Tensor:
    """Column s of the frame's Gram matrix O_f O_f^T, one per slot and never the whole matrix (METHOD 2.2).

    o: (h, f, p, d) head outputs, s: (h, f, t, d) surrogate outputs. Returns (h, f, t, p).
    """
    return s @ o.transpose(-1, -2)


def standardized_columns(o: Tensor, index: Tensor, weights: Tensor, rows: Tensor | None = None) -> Tensor:
    """Gram columns standardized over the text axis: (G - mean_t G) / (std_t G + 1e-6), unbiased std (METHOD 2.3).

    o: (h, f, p, d), index: (h, f, t), weights: (t,) how many equal texts a slot stands for; a slot of weight 0 is
    standardized by the others and does not move them. rows: (r, t), each a mean over slots; None: the slots
    themselves. Returns (h, f, r, p).

    G is linear in the surrogate output, so the mean is taken off the surrogates before the product: one pass less over
    (t, p), and no cancellation of large equal numbers. Rows are taken before the division for the same reason.
    """
    s = surrogate_outputs(o, index)
    total = weights.sum()
    mean = (weights[:, None] * s).sum(dim=-2, keepdim=True) / total
    centred = gram_columns(o, s - mean)
    kept = centred.clone() if rows is None else rows @ centred
    variance = weights @ centred.square_() / (total - 1)  # in place: for 512 slots it is the largest tensor here
    spread = has_spread(index, weights)[..., None]
    return kept * (spread / (variance.sqrt() + STD_EPSILON)).unsqueeze(-2)


def has_spread(index: Tensor, weights: Tensor) -> Tensor:
    """Whether the texts of a head and frame pick more than one surrogate: index (h, f, t) gives (h, f) booleans.

    Where all pick the same one the true spread is 0, and what float32 leaves of it would be divided by 1e-6.
    """
    counted = weights > 0
    low = index.masked_fill(~counted, torch.iinfo(index.dtype).max).amin(dim=-1)
    high = index.masked_fill(~counted, -1).amax(dim=-1)
    return high > low
