"""Every map of one layer at one step: one walk over heads for scores, one for maps, one for what all heads share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from imap.errors import ImapError
from imap.methods.chunking import head_groups
from imap.methods.cross_attention import text_softmax
from imap.methods.head_group import HeadGroup
from imap.methods.motion_heads import Score, select_motion_heads
from imap.methods.registry import MAPS, SaliencyMap
from imap.methods.whole_layer import WholeLayer


@dataclass(frozen=True)
class SlotWeights:
    """The text slots of a layer, and which of them make a row of the maps.

    A slot is a text key. One slot may count for many equal texts (padding). Concept slots that only the baselines
    read have weight 0 in `weights`.

    Attributes:
        weights, baseline_weights: (t,) how many equal texts each slot counts for.
        rows, baseline_rows: (rows, t) and (texts, t); each row is the mean over some slots.
        words: how many of the rows are words; the prompt's tokens follow. None: all.
        prompt: with prompt keys, how many of the slots are the prompt's; they come first, and only they count.
        attended: (t,) the weights, without slots that the model's attention does not see. None: all of `weights`.
    """

    weights: Tensor
    rows: Tensor
    baseline_weights: Tensor
    baseline_rows: Tensor
    words: int | None = None
    prompt: int | None = None
    attended: Tensor | None = None

    def to(self, device: torch.device) -> "SlotWeights":
        """The same on a device."""
        return self if self.rows.device == device else self._each(lambda x: x.to(device))

    def clone(self) -> "SlotWeights":
        """A copy that shares no memory."""
        return self._each(Tensor.clone)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "SlotWeights":
        tensors = (self.weights, self.rows, self.baseline_weights, self.baseline_rows)
        attended = None if self.attended is None else change(self.attended)
        return SlotWeights(*map(change, tensors), words=self.words, prompt=self.prompt, attended=attended)


@dataclass(frozen=True)
class MapConfig:
    """How the maps of a layer are computed: settings that do not change during a run (docs/method.md, 2.3, 3.1 and 6).

    Attributes:
        score: separability score of heads.
        topk: motion heads per layer; -1 keeps heads by the score's threshold.
        standardize: Gram columns over the text axis.
        softmax: over texts, of each layer's maps.
        consensus: one surrogate per frame and text for all heads of the layer, instead of one per head.
        cross_attention_scale: with it, cross attention is a softmax over texts of scaled logits (Wan).
        rivals_are_words: in the whole-video column, a word competes with the other words, not with all text slots.
        maps: the maps to compute.
    """

    score: Score
    topk: int
    standardize: bool
    softmax: bool
    consensus: bool = False
    cross_attention_scale: float | None = None
    rivals_are_words: bool = True
    maps: tuple[SaliencyMap, ...] = MAPS


@dataclass(frozen=True)
class LayerActivations:
    """What the attention of one layer gives for one video.

    Attributes:
        q, o: (h, f, p, d) visual queries and head outputs.
        keys: (h, t, d) text keys, one per slot.
        concepts: (h, c, d) head outputs of the last c slots. None where text has no head output (cross attention).
    """

    q: Tensor
    o: Tensor
    keys: Tensor
    concepts: Tensor | None = None


@dataclass(frozen=True)
class LayerMaps:
    """Maps of one layer by key, (rows, f, p); separability scores (h,); chosen (h,): 1 for motion heads, else 0."""

    maps: dict[str, Tensor]
    scores: Tensor
    chosen: Tensor


def layer_maps(layer: LayerActivations, texts: SlotWeights, config: MapConfig) -> LayerMaps:
    """Compute every map of one layer (docs/method.md, 2, 3, 5 and 10). Maps keep only the rows of `texts`.

    Heads are read in groups, so memory does not grow with the number of heads or text slots.
    """
    heads, slots = len(layer.o), layer.keys.shape[1]
    groups = head_groups(layer.o, slots)
    scores = layer.o.new_zeros(heads, dtype=torch.float32)
    for group in groups:  # a walk of its own: the choice of heads needs every head's score
        scores[group] = config.score.function(layer.o[group].float())
    chosen = select_motion_heads(scores, config.score, config.topk)
    motion_heads = chosen.sum()
    share = chosen / motion_heads.clamp(min=1)
    whole = WholeLayer(layer, groups, texts, config.rivals_are_words)

    reductions = _reductions(layer, texts, config.softmax)
    computed = [x for x in config.maps if x.slots in reductions]
    parts = [(x.key, x.resolve(), reductions[x.slots]) for x in computed]
    totals: dict[str, Tensor] = {}
    # a user's map may write into what it is given, and the video must stay as it is
    protect = config.maps != MAPS
    for group in groups:
        given = texts.clone() if protect else texts
        part = HeadGroup(
            q=layer.q[group].to(torch.float32, copy=protect),
            o=layer.o[group].to(torch.float32, copy=protect),
            keys=layer.keys[group].to(torch.float32, copy=protect),
            concepts=None if layer.concepts is None else layer.concepts[group].to(torch.float32, copy=protect),
            motion_share=share[group].clone() if protect else share[group],
            first=group.start,
            count=heads,
            motion_heads=motion_heads.clone() if protect else motion_heads,
            weights=given.weights,
            baseline_weights=given.baseline_weights,
            attended=given.weights if given.attended is None else given.attended,
            rows=None if config.softmax else given.rows,
            slot_rows=given.rows,
            standardize=config.standardize,
            cross_attention_scale=config.cross_attention_scale,
            consensus=config.consensus,
            whole=whole,
        )
        for key, function, reduction in parts:
            value = _checked(key, function, part, reduction)
            totals[key] = totals[key] + value if key in totals else value
    finished = {x.key: x.resolve_finish()(reductions[x.slots].finish(totals[x.key])) for x in computed}
    maps = {key: rearrange(x, "f r p -> r f p") for key, x in finished.items()}
    return LayerMaps(maps, scores, chosen)


def _checked(key: str, function: Callable[..., Tensor], heads: HeadGroup, rows: "Reduction") -> Tensor:
    """The result of a map function; ImapError when its shape is not that of a map."""
    value = function(heads, rows)
    frames, patches = heads.o.shape[1:3]
    expected = (frames, rows.count, patches)
    if not isinstance(value, Tensor) or tuple(value.shape) != expected:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ImapError(f"the map {key!r} returned {shape}; expected a tensor (frames, rows, patches) = {expected}")
    return value.float()


@dataclass(frozen=True)
class Reduction:
    """Text slots reduced to the rows that are kept: in every head, or after a softmax over texts of the heads' sum."""

    weights: Tensor
    rows: Tensor
    softmax: bool

    @property
    def count(self) -> int:
        """Rows that a map function returns."""
        return self.rows.shape[1] if self.softmax else self.rows.shape[0]

    def __call__(self, x: Tensor) -> Tensor:
        """(..., t, p) to (..., r, p). All slots stay when a softmax over texts follows."""
        return x if self.softmax else self.rows @ x

    def finish(self, x: Tensor) -> Tensor:
        """Sum over heads (f, r, p) as it is, or (f, t, p) to (f, r, p) by the softmax over texts."""
        return self.rows @ text_softmax(x, self.weights, dim=1) if self.softmax else x


def _reductions(layer: LayerActivations, texts: SlotWeights, softmax: bool) -> dict[str, Reduction]:
    """Reduction by the slots that a map reads; without head outputs of concepts, there is none of those."""
    reductions = {
        "texts": Reduction(texts.weights, texts.rows, softmax),
        "baseline": Reduction(texts.baseline_weights, texts.baseline_rows, softmax),
    }
    words = torch.ones_like(texts.rows[:, 0])
    reductions["words"] = Reduction(words, torch.diag(words), softmax=False)
    if layer.concepts is not None:
        first = layer.keys.shape[1] - layer.concepts.shape[1]
        reductions["concepts"] = Reduction(texts.baseline_weights[first:], texts.baseline_rows[:, first:], softmax)
    return reductions
