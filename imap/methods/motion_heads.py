"""IMAP: the mean over motion heads, heads in whose output the frames of a video separate (docs/method.md, 3).

Every score takes head outputs o of shape (h, f, p, d) in float32, labels each token with its frame, stays on the
tensor's device and returns (h,). The formulas and the degenerate cases are scikit-learn's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup

SILHOUETTE_SAMPLE = 5000  # tokens, drawn with seed 0, as the release does
ROWS_AT_ONCE = 512  # rows of the sampled distance matrix that exist at a time


def imap_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """IMAP: mean over motion heads of the Gram columns, (f, r, p) (docs/method.md, 3.2)."""
    return torch.einsum("h,hfrp->frp", heads.motion_share, heads.columns)


def scatter(o: Tensor) -> tuple[Tensor, Tensor]:
    """Between-frame and within-frame scatter B and W of docs/method.md, 3.1, each (h,)."""
    patches = o.shape[2]
    frame_means = o.mean(dim=2)
    between = patches * (frame_means - frame_means.mean(dim=1, keepdim=True)).square().sum(dim=(1, 2))
    # by the norm of tokens: `var` over an axis that is not the last is slow
    within = torch.linalg.vector_norm(o - frame_means.unsqueeze(2), dim=-1).square().sum(dim=(1, 2))
    return between, within


def calinski_harabasz(o: Tensor) -> Tensor:
    """CHI = (B / (F - 1)) / (W / (N - F)); 1 where W is 0."""
    _, frames, patches, _ = o.shape
    between, within = scatter(o)
    index = (between / (frames - 1)) / (within / (frames * patches - frames))
    return torch.where(within == 0, 1.0, index)


def fisher(o: Tensor) -> Tensor:
    """Fisher ratio B / W; 0 where W is 0."""
    between, within = scatter(o)
    return torch.where(within == 0, 0.0, between / within)


def davies_bouldin(o: Tensor) -> Tensor:
    """Davies-Bouldin index, lower is better: mean over frames of max_j (s_i + s_j) / |mu_i - mu_j|."""
    frames = o.shape[1]
    means = o.mean(dim=2)
    spread = (o - means.unsqueeze(2)).norm(dim=-1).mean(dim=-1)
    distance = torch.linalg.vector_norm(means.unsqueeze(1) - means.unsqueeze(2), dim=-1)
    ratio = (spread.unsqueeze(1) + spread.unsqueeze(2)) / distance
    ratio = ratio.masked_fill(torch.eye(frames, dtype=torch.bool, device=o.device) | (distance == 0), 0.0)
    return ratio.amax(dim=-1).mean(dim=-1)


def silhouette(o: Tensor) -> Tensor:
    """Mean silhouette coefficient of 5,000 tokens drawn with seed 0 (all, if fewer); a few hundred rows at once."""
    _, frames, patches, _ = o.shape
    chosen = _sample(frames * patches, o.device)
    labels = chosen // patches
    members = torch.nn.functional.one_hot(labels, frames).to(o.dtype)
    return torch.stack([_silhouette(head[chosen], labels, members) for head in rearrange(o, "h f p d -> h (f p) d")])


@cache
def _sample(tokens: int, device: torch.device) -> Tensor:
    """The drawn tokens, on the device once: a copy at every layer would wait for it."""
    return torch.from_numpy(np.random.RandomState(0).permutation(tokens)[:SILHOUETTE_SAMPLE]).to(device)


def _silhouette(x: Tensor, labels: Tensor, members: Tensor) -> Tensor:
    """x: (n, d) tokens, labels: (n,) frames, members: (n, f) one-hot labels. Returns a scalar."""
    sizes = members.sum(dim=0)
    coefficients = []
    for rows in torch.arange(len(x), device=x.device).split(ROWS_AT_ONCE):
        # the plain difference, not |x|^2 + |y|^2 - 2xy: that loses the small distances to cancellation
        to_frame = torch.cdist(x[rows], x, compute_mode="donot_use_mm_for_euclid_dist") @ members
        own = labels[rows].unsqueeze(1)
        own_size = sizes[own]
        inside = to_frame.gather(1, own) / (own_size - 1)
        outside = (to_frame / sizes).scatter(1, own, torch.inf)
        outside = outside.masked_fill(sizes == 0, torch.inf).amin(dim=1, keepdim=True)
        value = (outside - inside) / torch.maximum(inside, outside)
        coefficients.append(torch.where(own_size > 1, value, 0.0).nan_to_num())
    return torch.cat(coefficients).mean()


@dataclass(frozen=True)
class Score:
    """A separability score: the function, whether larger is better, and the threshold that stands in for top-k."""

    function: Callable[[Tensor], Tensor]
    larger_is_better: bool
    threshold: float


SCORES = {
    "CHI": Score(calinski_harabasz, True, 100.0),
    "DBI": Score(davies_bouldin, False, 10.0),
    "Silhouette": Score(silhouette, True, 0.1),
    "Fisher": Score(fisher, True, 0.3),
}


def select_motion_heads(values: Tensor, score: Score, topk: int) -> Tensor:
    """Which heads are motion heads: the best `topk`, or with topk = -1 those beyond the score's threshold.

    values: (h,). Returns (h,) of 0 and 1 in float32, on the same device and without waiting for it. A threshold may
    keep no head.
    """
    better = values if score.larger_is_better else -values
    if topk == -1:
        limit = score.threshold if score.larger_is_better else -score.threshold
        return (better > limit).float()
    return torch.zeros_like(better, dtype=torch.float32).scatter(0, better.topk(topk).indices, 1.0)
