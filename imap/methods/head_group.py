"""What a map function is given: a few heads of one layer, and what several maps share of them."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from imap.methods.gramcol import gram_columns, matches, standardized_columns, surrogate_outputs, surrogates
from imap.methods.whole_layer import WholeLayer


@dataclass(frozen=True, eq=False)
class HeadGroup:
    """Heads of one layer, in float32 on the model's device. Shared parts are computed once, when a map needs them.

    Attributes:
        q, o: (h, f, p, d) visual queries and head outputs.
        keys: (h, t, d) text keys, one per slot.
        concepts: (h, c, d) head outputs of the concept tokens; None in cross-attention backbones.
        motion_share: (h,) weight of each head in the mean over the layer's motion heads.
        first: number of the first head in its layer.
        count: heads of the whole layer.
        motion_heads: (), how many of the layer's heads are motion heads, a float.
        weights: (t,) how many equal texts each slot counts for.
        baseline_weights: (t,) the same for the cross-attention baseline.
        attended: (t,) the weights, without slots that the model's attention does not see.
        rows: (r, t) rows of the maps as means over slots; None keeps all slots, as a softmax over texts follows.
        slot_rows: (r, t) rows of the maps as means over slots, always.
        standardize: whether Gram columns are standardized over texts.
        cross_attention_scale: scale of logits before the softmax over texts; None for plain logits.
        consensus: whether all heads of the layer share the surrogates.
        whole: results over all heads of the layer.
    """

    q: Tensor
    o: Tensor
    keys: Tensor
    concepts: Tensor | None
    motion_share: Tensor
    first: int
    count: int
    motion_heads: Tensor
    weights: Tensor
    baseline_weights: Tensor
    attended: Tensor
    rows: Tensor | None
    slot_rows: Tensor
    standardize: bool
    cross_attention_scale: float | None
    consensus: bool
    whole: WholeLayer

    @cached_property
    def logits(self) -> Tensor:
        """QK-matching, (h, f, t, p): how well each patch answers each text key."""
        return matches(self.q, self.keys)

    @cached_property
    def surrogates(self) -> Tensor:
        """Patch of each frame that answers a text key best, (h, f, t)."""
        if self.consensus:
            return self.whole.consensus.expand(len(self.o), -1, -1)
        return surrogates(self.logits)

    @cached_property
    def columns(self) -> Tensor:
        """Gram columns of the surrogates, (h, f, r, p), standardized over texts unless switched off."""
        if self.standardize:
            return standardized_columns(self.o, self.surrogates, self.weights, self.rows)
        s = surrogate_outputs(self.o, self.surrogates)
        return gram_columns(self.o, s if self.rows is None else self.rows @ s)
