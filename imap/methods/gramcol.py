"""GramCol: where is a concept, in each frame (arXiv 2603.02919; docs/method.md, 2)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup

STD_EPSILON = 1e-6


def gramcol_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """GramCol: sum over all heads of the Gram columns, (f, r, p) (docs/method.md, 2.4)."""
    return heads.columns.sum(dim=0)


def matches(q: Tensor, keys: Tensor) -> Tensor:
    """QK-matching: how well each patch answers each text key, <Q[h, f, p], K[h, t]> (docs/method.md, 2.1).

    q: (h, f, p, d) visual queries, keys: (h, t, d). Returns (h, f, t, p).
    """
    return keys.unsqueeze(1) @ q.transpose(-1, -2)


def surrogates(logits: Tensor) -> Tensor:
    """Surrogate of every head, frame and slot: the patch that answers the text key best (docs/method.md, 2.1).

    logits: (h, f, t, p), from `matches`. Returns patch indices inside the frame, (h, f, t).
    """
    return logits.argmax(dim=-1)


def surrogate_outputs(o: Tensor, index: Tensor) -> Tensor:
    """Head outputs at the surrogate tokens. o: (h, f, p, d), index: (h, f, t). Returns (h, f, t, d)."""
    return o.gather(2, index.unsqueeze(-1).expand(*index.shape, o.shape[-1]))


def gram_columns(o: Tensor, s: Tensor) -> Tensor:
    """Column s of the frame's Gram matrix O_f O_f^T, one per slot and never the whole matrix (docs/method.md, 2.2).

    o: (h, f, p, d) head outputs, s: (h, f, t, d) surrogate outputs. Returns (h, f, t, p).
    """
    return s @ o.transpose(-1, -2)


def standardized_columns(o: Tensor, index: Tensor, weights: Tensor, rows: Tensor | None = None) -> Tensor:
    """Gram columns standardized over texts: (G - mean_t G) / (std_t G + 1e-6), unbiased std (docs/method.md, 2.3).

    G is linear in the surrogate output, so the mean is subtracted from the surrogates before the product. This saves a
    pass over (t, p) and avoids the cancellation of large equal numbers. Rows are reduced before the division for the
    same reason.

    Args:
        o: (h, f, p, d) head outputs.
        index: (h, f, t) surrogates, from `surrogates`.
        weights: (t,) how many equal texts a slot counts for. A slot of weight 0 is standardized by the others and does
            not change them.
        rows: (r, t), each row a mean over slots. None keeps the slots.

    Returns:
        (h, f, r, p).
    """
    return standardized(o, surrogate_outputs(o, index), weights, rows, has_spread(index, weights))


def standardized(
    o: Tensor, s: Tensor, weights: Tensor, rows: Tensor | None = None, spread: Tensor | None = None
) -> Tensor:
    """Columns <s, O> standardized over texts, as in `standardized_columns`.

    s: (h, f, t, d) an output per slot; spread: (h, f) where texts differ, None for everywhere. The others as there.
    Returns (h, f, r, p).
    """
    total = weights.sum()
    mean = (weights[:, None] * s).sum(dim=-2, keepdim=True) / total
    centred = gram_columns(o, s - mean)
    kept = centred.clone() if rows is None else rows @ centred
    variance = weights @ centred.square_() / (total - 1)  # in place: for 512 slots it is the largest tensor here
    factor = (1 if spread is None else spread[..., None]) / (variance.sqrt() + STD_EPSILON)
    return kept * factor.unsqueeze(-2)


def has_spread(index: Tensor, weights: Tensor) -> Tensor:
    """Whether the texts of a head and frame pick more than one surrogate: index (h, f, t) gives (h, f) booleans.

    If all texts pick the same patch, the true spread is 0; the float32 rounding error must not be divided by 1e-6.
    """
    counted = weights > 0
    low = index.masked_fill(~counted, torch.iinfo(index.dtype).max).amin(dim=-1)
    high = index.masked_fill(~counted, -1).amax(dim=-1)
    return high > low
