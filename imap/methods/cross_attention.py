"""Cross attention, a baseline, and the softmax over texts (docs/method.md, 5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup


LARGEST = 80.0  # of a logit, so that its exponential is finite in float32


def cross_attention_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over heads of <Q, K>, (f, r, p); with a scale, of its softmax over texts (Wan)."""
    logits = heads.logits
    if heads.cross_attention_scale is not None:
        logits = text_softmax(logits * heads.cross_attention_scale, heads.baseline_weights, dim=2)
    return rows(logits).sum(dim=0) / heads.count


def text_attention_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over heads of the softmax over texts of scaled <Q, K>, (f, r, p): what attention-map tools show."""
    if not heads.whole.rivals_are_words:  # computed for the whole-video column too
        return rows(heads.whole.text_attention) * (len(heads.q) / heads.count)
    logits = heads.logits * heads.q.shape[-1] ** -0.5
    return rows(text_softmax(logits, heads.attended, dim=2)).sum(dim=0) / heads.count


def text_softmax(x: Tensor, weights: Tensor, dim: int, first: int | None = None) -> Tensor:
    """Softmax over text slots, where slot t counts for weights[t] equal texts: exp(x_t) / sum_t w_t exp(x_t).

    A slot of weight 0 is not part of the sum. Its value is what one more text would get. `first` says that the first so
    many slots are those that count, which saves passes over the largest tensors of a trace.
    """
    shape = [1] * x.ndim
    shape[dim] = -1
    if first is None:
        counted = (weights > 0).view(shape)
        largest = (x + weights.log().clamp(max=0).view(shape)).amax(dim=dim, keepdim=True)  # of the texts that count
        x = torch.minimum(x - largest, torch.where(counted, 0.0, LARGEST)).exp_()
        total = torch.tensordot(weights, x, dims=([0], [dim])).unsqueeze(dim)  # type: ignore[arg-type]
        return x.div_(total + torch.where(counted, 0.0, 1.0) * x)
    x = x - x.narrow(dim, 0, first).amax(dim=dim, keepdim=True)
    counts, others = (
        x.narrow(dim, 0, first).exp_(),
        x.narrow(dim, first, x.shape[dim] - first).clamp_(max=LARGEST).exp_(),
    )
    total = torch.tensordot(weights[:first], counts, dims=([0], [dim])).unsqueeze(dim)  # type: ignore[arg-type]
    counts.div_(total)
    others.div_(total + others)
    return x
