"""Every map of one layer at one step, in one walk over the heads."""

from dataclasses import dataclass, fields

import torch
from einops import rearrange
from torch import Tensor

from imap.maps.baselines import concept_attention, text_softmax
from imap.maps.gramcol import gram_columns, standardized_columns, surrogate_outputs, surrogates
from imap.maps.grouping import head_groups
from imap.maps.separability import Score, motion_heads


@dataclass(frozen=True)
class Texts:
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

    def to(self, device: torch.device) -> "Texts":
        return self if self.rows.device == device else Texts(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Rule:
    """How the maps of a layer are formed: settings of METHOD 2.3, 3.1 and 6 that do not change during a run."""

    score: Score
    topk: int
    standardize: bool
    softmax: bool
    consensus: bool = False  # one surrogate per frame and text for all heads of the layer, not one for each
    cross_attention_scale: float | None = None  # given: softmax over texts of scaled logits (Wan); None: plain logits


@dataclass(frozen=True)
class Layer:
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


def layer_maps(layer: Layer, texts: Texts, rule: Rule) -> LayerMaps:
    """GramCol, IMAP and the baselines of one layer (METHOD 2, 3 and 5), reduced to the rows that are kept."""
    heads, frames, patches, width = layer.o.shape
    slots = layer.keys.shape[1]
    new = layer.o.new_zeros
    scores = new(heads, dtype=torch.float32)
    columns = new((frames, slots, patches), dtype=torch.float32)
    motion, cross = torch.zeros_like(columns), torch.zeros_like(columns)
    concept = None
    groups = head_groups(heads, frames * patches, slots, width)

    for group in groups:  # a pass of its own: the choice of heads needs every head's score
        scores[group] = rule.score.function(layer.o[group].float())
    chosen = motion_heads(scores, rule.score, rule.topk)
    share = chosen / chosen.sum().clamp(min=1)

    if rule.consensus:
        agreed = surrogates(sum(_logits(layer, group).sum(dim=0, keepdim=True) for group in groups))
    for group in groups:
        o, logits = layer.o[group].float(), _logits(layer, group)
        index = agreed.expand(len(o), -1, -1) if rule.consensus else surrogates(logits)
        z = _columns(o, index, texts.weights, rule.standardize)
        columns += z.sum(dim=0)
        motion += torch.einsum("h,hftp->ftp", share[group], z)
        if rule.cross_attention_scale is not None:
            logits = text_softmax(logits * rule.cross_attention_scale, texts.baseline_weights, dim=1)
        cross += rearrange(logits.sum(dim=0), "t f p -> f t p") / heads
        if layer.concepts is not None:
            part = concept_attention(layer.concepts[group].float(), o)
            concept = part if concept is None else concept + part

    kept = {
        "imap": (columns, texts.weights, texts.rows),
        "sel_imap": (motion, texts.weights, texts.rows),
        "cross_attention_maps": (cross, texts.baseline_weights, texts.baseline_rows),
    }
    if concept is not None:
        last = slice(slots - concept.shape[1], slots)
        kept["concept_attention_maps"] = (concept, texts.baseline_weights[last], texts.baseline_rows[:, last])
    maps = {key: _rows(x, weights, rows, rule.softmax) for key, (x, weights, rows) in kept.items()}
    return LayerMaps(maps, scores, chosen)


def _logits(layer: Layer, group: slice) -> Tensor:
    """<Q[h, f, p], K[h, t]> of a group of heads, (h, t, f, p)."""
    q = layer.q[group].float()
    return rearrange(
        layer.keys[group].float() @ rearrange(q, "h f p d -> h d (f p)"), "h t (f p) -> h t f p", f=q.shape[1]
    )


def _columns(o: Tensor, index: Tensor, weights: Tensor, standardize: bool) -> Tensor:
    if standardize:
        return standardized_columns(o, index, weights)
    return gram_columns(o, surrogate_outputs(o, index))


def _rows(x: Tensor, weights: Tensor, rows: Tensor, softmax: bool) -> Tensor:
    """Slot maps (f, t, p) to rows (rows, f, p), after the softmax over all texts where it is asked for."""
    if softmax:
        x = text_softmax(x, weights, dim=1)
    return torch.einsum("rt,ftp->rfp", rows, x)
