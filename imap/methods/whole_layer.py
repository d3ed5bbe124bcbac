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
        # maxima to 1 first: the power of small shares must not underflow
        over_video, over_texts = (x / x.amax(dim=-1, keepdim=True) for x in self._attention)
        weights = (over_video * over_texts) ** SHARPENING
        return weights / weights.sum(dim=-1, keepdim=True)

    @cached_property
    def text_attention(self) -> Tensor:
        """Mean over heads of the softmax over texts, (f, k, p), for the texts of `video_weights`."""
        frames = self._layer.q.shape[1]
        return rearrange(self._attention[1] / len(self._layer.q), "k (f p) -> f k p", f=frames)

    @cached_property
    def _attention(self) -> tuple[Tensor, Tensor]:
        """Sums over heads of the softmax over the video and of that over texts, each (k, f * p)."""
        totals: list[Tensor] = []
        for group in self._groups:
            q = rearrange(self._layer.q[group].float(), "h f p d -> h (f p) d")
            keys = self._layer.keys[group].float()
            keys = self._texts.rows @ keys if self.rivals_are_words else keys
            logits = (keys * q.shape[-1] ** -0.5) @ q.transpose(-1, -2)
            parts = (logits.softmax(dim=-1).sum(dim=0), self._among_texts(logits).sum(dim=0))
            totals = [total.add_(part) for total, part in zip(totals, parts, strict=True)] if totals else list(parts)
        return totals[0], totals[1]

    def _among_texts(self, logits: Tensor) -> Tensor:
        """Softmax over the texts that compete, of logits (h, k, n)."""
        if not self.rivals_are_words:
            return text_softmax(logits, self._texts.weights, dim=1, first=self._texts.prompt)
        words = logits.shape[1] if self._texts.words is None else self._texts.words  # the prompt's tokens come after
        return torch.cat([part.softmax(dim=1) for part in (logits[:, :words], logits[:, words:]) if part.shape[1]], 1)
