"""Whole-video column: where and when is a word (docs/method.md, 10.1). A map of imap's own, beyond the paper."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor

from imap.methods.gramcol import standardized

if TYPE_CHECKING:
    from imap.methods.head_group import HeadGroup


def video_col_map(heads: "HeadGroup", rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Whole-video column: mean over heads of the column of one prototype per word and video, (f, r, p).

    GramCol picks a surrogate in every frame, also in frames where the word is not, so it cannot know when. Here a word
    has one prototype for the whole video, and a frame without it stays low.
    """
    o = rearrange(heads.o, "h f p d -> h (f p) d")
    weights = heads.whole.video_weights
    if heads.whole.rivals_are_words:
        columns = centred_columns(o, weights)
    elif heads.standardize:
        video = o.unsqueeze(1)  # the whole video as one frame of the published standardization
        columns = standardized(video, (weights @ o).unsqueeze(1), heads.weights, heads.slot_rows).squeeze(1)
    else:
        columns = centred_columns(o, heads.slot_rows @ weights)
    frames = heads.o.shape[1]
    return rearrange(columns.sum(dim=0) / heads.count, "r (f p) -> f r p", f=frames)


def above_median(x: Tensor) -> Tensor:
    """What is above the median over the video, (f, r, p), and 0 elsewhere: most of a video is without the word."""
    ground = rearrange(x, "f r p -> r (f p)").median(dim=-1).values
    return (x - ground[:, None]).clamp(min=0)


def centred_columns(o: Tensor, weights: Tensor) -> Tensor:
    """<s, X> of the prototypes s = sum_n w_n X_n, with X the head outputs centred over the video.

    Args:
        o: (h, n, d) head outputs of all tokens of the video.
        weights: (k, n) weights of the prototypes; a row sums to 1.

    Returns:
        (h, k, n).
    """
    mean = o.mean(dim=1, keepdim=True)
    s = weights @ o - mean
    return s @ o.transpose(-1, -2) - s @ mean.transpose(-1, -2)
