"""Every map of one layer at one step: a walk over heads for their scores, one for the maps, one more for consensus."""

from dataclasses import dataclass, fields

import torch
from einops import rearrange
from torch import Tensor

from imap.methods.chunking import head_groups
from imap.methods.concept_attention import concept_attention
from imap.methods.cross_attention import text_softmax
from imap.methods.gramcol import gram_columns, matches, standardized_columns, surrogate_outputs, surrogates
from imap.methods.motion_heads import Score, select_motion_heads


@dataclass(frozen=True)
class SlotWeights:
    """The text slots of a layer, and which of them make a row of the maps.

    A slot is a text key; one slot may stand for many equal texts (padding). Concept slots that only the baselines
    read have weight 0 in `weights`.

    weights, baseline_weights: (t,) multiplicities. rows: (rows, t) and baseline_rows: (texts, t), each row the mean
    over some slots.
    """

    weights: Tensor
    rows: Tensor
    baseline_weights: Tensor
    baseline_rows: Tensor

    def to(self, device: torch.device) -> "SlotWeights":
        if self.rows.device == device:
            return self
        return SlotWeights(*(getattr(self, part.name).to(device) for part in fields(self)))


@dataclass(frozen=True)
class MapConfig:
    """How the maps of a layer are formed: settings of METHOD 2.3, 3.1 and 6 that do not change during a run."""

    score: Score
    topk: int
    standardize: bool
    softmax: bool
    consensus: bool = False  # one surrogate per frame and text for all heads of the layer, not one for each
    cross_attention_scale: float | None = None  # given: softmax over texts of scaled logits (Wan); None: plain logits


@dataclass(frozen=True)
class LayerActivations:
    """What attention of one layer gives for one video.

    q, o: (h, f, p, d) visual queries and head outputs; keys: (h, t, d) text keys, one per slot; concepts: (h, c, d)
    head outputs of the last c slots, or None where text has no head output (cross-attention backbones).
    """

    q: Tensor
    o: Tensor
    keys: Tensor
    concepts: Tensor | None = None


@dataclass(frozen=True)
class LayerMaps:
    """Maps of one layer, (rows, f, p) each, the separability score of every head and the heads chosen by it, (h,)."""

    maps: dict[str, Tensor]
    scores: Tensor
    chosen: Tensor


def layer_maps(layer: LayerActivations, texts: SlotWeights, rule: MapConfig) -> LayerMaps:
    """GramCol, IMAP and the baselines of one layer (METHOD 2, 3 and 5), reduced to the rows that are kept."""
    heads, slots = len(layer.o), layer.keys.shape[1]
    scores = layer.o.new_zeros(heads, dtype=torch.float32)
    groups = head_groups(layer.o, slots)

    for group in groups:  # a pass of its own: the choice of heads needs every head's score
        scores[group] = rule.score.function(layer.o[group].float())
    chosen = select_motion_heads(scores, rule.score, rule.topk)
    share = chosen / chosen.sum().clamp(min=1)

    if rule.consensus:
        pairs = ((layer.keys[group].float(), layer.q[group].float()) for group in groups)
        agreed = surrogates(sum(torch.einsum("htd,hfpd->ftp", *pair) for pair in pairs).unsqueeze(0))
    concepts = slots - (0 if layer.concepts is None else layer.concepts.shape[1])  # the first of the concept slots
    own = _Reduction(texts.weights, texts.rows, rule.softmax)
    baseline = _Reduction(texts.baseline_weights, texts.baseline_rows, rule.softmax)
    attended = _Reduction(texts.baseline_weights[concepts:], texts.baseline_rows[:, concepts:], rule.softmax)
    columns, motion, cross, concept = 0.0, 0.0, 0.0, 0.0
    for group in groups:
        o, logits = layer.o[group].float(), _matches(layer, group)
        index = agreed.expand(len(o), -1, -1) if rule.consensus else surrogates(logits)
        z = _columns(o, index, texts.weights, own.early, rule.standardize)
        columns = columns + z.sum(dim=0)
        motion = motion + torch.einsum("h,hftp->ftp", share[group], z)
        if rule.cross_attention_scale is not None:
            logits = text_softmax(logits * rule.cross_attention_scale, texts.baseline_weights, dim=2)
        cross = cross + baseline.in_head(logits).sum(dim=0) / heads
        if layer.concepts is not None:
            concept = concept + attended.in_head(concept_attention(layer.concepts[group].float(), o))

    maps = {"imap": own.of_heads(columns), "sel_imap": own.of_heads(motion)}
    maps["cross_attention_maps"] = baseline.of_heads(cross)
    if layer.concepts is not None:
        maps["concept_attention_maps"] = attended.of_heads(concept)
    return LayerMaps({key: rearrange(x, "f r p -> r f p") for key, x in maps.items()}, scores, chosen)


@dataclass(frozen=True)
class _Reduction:
    """From slots to the few rows that are kept: in every head, or after a softmax over all texts of the heads' mean."""

    weights: Tensor
    rows: Tensor
    softmax: bool

    @property
    def early(self) -> Tensor | None:
        return None if self.softmax else self.rows

    def in_head(self, x: Tensor) -> Tensor:
        """(..., t, p) to (..., r, p), or as it is."""
        return x if self.softmax else self.rows @ x

    def of_heads(self, x: Tensor) -> Tensor:
        """(f, r, p) as it is, or (f, t, p) to (f, r, p)."""
        return self.rows @ text_softmax(x, self.weights, dim=1) if self.softmax else x


def _matches(layer: LayerActivations, group: slice) -> Tensor:
    """QK-matching of a group of heads, (h, f, t, p)."""
    return matches(layer.q[group].float(), layer.keys[group].float())


def _columns(o: Tensor, index: Tensor, weights: Tensor, rows: Tensor | None, standardize: bool) -> Tensor:
    """Gram columns of a group of heads, (h, f, r, p)."""
    if standardize:
        return standardized_columns(o, index, weights, rows)
    s = surrogate_outputs(o, index)
    return gram_columns(o, s if rows is None else rows @ s)
