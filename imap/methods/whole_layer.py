"""What maps need of all heads of a layer at once: the consensus surrogate, and where a text is in the whole video."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from imap.methods.cross_attention import text_softmax
from imap.methods.gramcol import surrogates

if TYPE_CHECKING:
    from imap.methods.layer_maps import LayerActivations, SlotWeights

SHARPENING = 2  # power of the agreement of attention over the video and over texts


class WholeLayer:
    """Results over all heads of one layer, each computed when a map first needs it. Do not write into them."""

    def __init__(
        self, layer: "LayerActivations", groups: Sequence[slice], texts: "SlotWeights", rivals_are_words: bool
    ) -> None:
        """rivals_are_words: texts compete with the other words (True), or with all text slots (False)."""
        self._layer, self._groups, self._texts, self.rivals_are_words = layer, groups, texts, rivals_are_words

    @cached_property
    def consensus(self) -> Tensor:
        """Surrogates (1, f, t) of the mean over all heads of the QK-matching."""
        pairs = ((self._layer.keys[group].float(), self._layer.q[group].float()) for group in self._groups)
        total = sum(torch.einsum("htd,hfpd->ftp", *pair) for pair in pairs)
        return surrogates(torch.as_tensor(total).unsqueeze(0))

    @cached_property
    def video_weights(self) -> Tensor:
        """Where each text is in the video, (k, f * p); a row sums to 1 (docs/method.md, 10.1).

        The k texts are the rows of the maps if rivals are words, else the text slots. The weight of a token is its
        share of the text's attention over the video, times the text's share of the token's attention over texts, both
        means over heads, to the power SHARPENING.
        """
        texts = self._texts
        over_video: Tensor | None = None
        over_texts: Tensor | None = None
        for group in self._groups:
            q = rearrange(self._layer.q[group].float(), "h f p d -> h (f p) d")
            keys = self._layer.keys[group].float()
            keys = texts.rows @ keys if self.rivals_are_words else keys
            logits = keys @ q.transpose(-1, -2) * q.shape[-1] ** -0.5
            among = self._among_texts(logits).sum(dim=0)
            inside = logits.softmax(dim=-1).sum(dim=0)
            over_video = inside if over_video is None else over_video.add_(inside)
            over_texts = among if over_texts is None else over_texts.add_(among)
        assert over_video is not None and over_texts is not None  # a layer has heads
        # maxima to 1 first: the power of small shares must not underflow
        weights = (_to_maximum(over_video) * _to_maximum(over_texts)) ** SHARPENING
        return weights / weights.sum(dim=-1, keepdim=True)

    def _among_texts(self, logits: Tensor) -> Tensor:
        """Softmax over the texts that compete, of logits (h, k, n)."""
        if not self.rivals_are_words:
            return text_softmax(logits, self._texts.weights, dim=1)
        words = logits.shape[1] if self._texts.words is None else self._texts.words  # the prompt's tokens come after
        return torch.cat([part.softmax(dim=1) for part in (logits[:, :words], logits[:, words:]) if part.shape[1]], 1)


def _to_maximum(x: Tensor) -> Tensor:
    return x / x.amax(dim=-1, keepdim=True)
