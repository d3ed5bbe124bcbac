"""What a trace has accumulated on the device, as maps on the host."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imap.backbones.base import Backbone
from imap.backbones.features import Grid
from imap.config.method import Method
from imap.errors import ImapError
from imap.methods.by_layer import Kept
from imap.methods.keep import Numbered
from imap.methods.layer_maps import LayerMaps, MapConfig
from imap.methods.motion_heads import SCORES, Score
from imap.methods.random_heads import random_heads_maps
from imap.methods.registry import CHOSEN, EFFECT, MAPS, PUBLISHED, SaliencyMap, check_maps, labels
from imap.saliency import Maps
from imap.tracing.text_slots import TextSlots

Table = dict[int, dict[int, list]]  # [layer][step], one value per head


class HeadChoices:
    """Score of every head and the motion heads, by layer and step: two short rows each, kept on the device."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self._step: dict[int, tuple[Tensor, Tensor]] = {}
        self._rows: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def add(self, layer: int, maps: LayerMaps) -> None:
        """Add a layer of the current step."""
        self._step[layer] = (maps.scores, maps.chosen)

    def __contains__(self, layer: int) -> bool:
        """Whether the current step has read a layer."""
        return layer in self._step

    def drop_step(self) -> None:
        """Discard what an interrupted step has added."""
        self._step = {}

    def end_step(self, step: int) -> None:
        """Keep the current step under its number."""
        self._rows |= {(layer, step): row for layer, row in self._step.items()}
        self._step = {}

    def tables(self) -> tuple[Table, Table]:
        """Scores of all heads, and motion heads best first. Empty if no attention was read."""
        if not self._rows:
            return {}, {}
        device = next(iter(self._rows.values()))[0].device  # of the first layer: blocks may sit on several devices
        values, chosen = (torch.stack([row[i].to(device) for row in self._rows.values()]).cpu() for i in (0, 1))
        order = values.argsort(dim=1, descending=self.score.larger_is_better)
        scores: Table = {}
        heads: Table = {}
        for i, (layer, step) in enumerate(self._rows):
            scores.setdefault(layer, {})[step] = values[i].tolist()
            heads.setdefault(layer, {})[step] = [head for head in order[i].tolist() if chosen[i, head]]
        return scores, heads


def map_config(backbone: Backbone, method: Method, text_slots: TextSlots, maps: Sequence[SaliencyMap]) -> MapConfig:
    """How maps are made of a layer. maps: the user's, beside the registered ones."""
    return MapConfig(
        score=SCORES[method.imap_sep_score],
        topk=method.imap_sep_topk,
        standardize=text_slots.standardize,
        softmax=method.softmax,
        consensus=method.surrogate == "consensus",
        cross_attention_scale=backbone.cross_attention_scale,
        rivals_are_words=backbone.rivals_are_words,
        maps=(*check_maps(maps), *random_heads_maps(method.random_heads)),
    )


def collect(
    means: Mapping[str, Tensor],
    choices: HeadChoices,
    grid: Grid,
    config: MapConfig,
    method: Method,
    text_slots: TextSlots,
    facts: Mapping[str, Any],
    kept: Mapping[str, Numbered],
) -> Maps:
    """Maps from the running means.

    Args:
        means: (rows, f, p) by key; rows are the texts, then the prompt's tokens.
        choices: scores and motion heads.
        grid: of the visual tokens.
        config, method: settings; `config.maps` names the maps.
        text_slots: the words.
        facts: further facts to record.
        kept: maps of single layers and steps.

    Raises:
        ImapError: for values that are not finite.
    """
    count, size = len(text_slots.texts), (grid.height, grid.width)
    arrays = {key: x.unflatten(-1, size).cpu().numpy() for key, x in means.items()}
    scores, heads = choices.tables()
    check_finite(arrays, scores, {x.key for x in config.maps if x not in MAPS})
    if scores and not any(chosen for steps in heads.values() for chosen in steps.values()):
        text_slots.note(f"no head passes the {method.imap_sep_score} threshold: the sel_imap maps are zero")
    settings = vars(method) | {"standardize": "text" if text_slots.standardize else "none"}
    if EFFECT in arrays:
        from imap.evaluation.faithfulness import faithfulness_by_text  # loads scipy

        others = {key: x for key, x in arrays.items() if key != EFFECT}
        if others:
            facts = {**facts, "faithfulness": faithfulness_by_text(others, arrays[EFFECT], text_slots.texts)}
    if method.show != PUBLISHED and not {method.show, method.show + CHOSEN} & set(arrays):
        text_slots.note(f"show={method.show}: this model has no such map, so IMAP and GramCol are shown")
    tokens = {key: x[count:] for key, x in arrays.items() if len(x) > count}
    return Maps(
        arrays={key: x[:count] for key, x in arrays.items()},
        texts=text_slots.texts,
        motions=text_slots.motions,
        heads=heads,
        scores=scores,
        facts={**facts, "method": settings, **text_slots.facts(facts["notes"])},
        token_arrays=tokens,
        tokens=text_slots.tokenized.pieces if tokens else (),
        labels=labels(x for x in config.maps if x not in MAPS),
        kept={name: Kept(x.unflatten(-1, size).cpu().numpy(), *numbers) for name, (x, *numbers) in kept.items()},
    )


def check_finite(arrays: Mapping[str, np.ndarray], scores: Table, own: Collection[str] = ()) -> None:
    """Raise ImapError if a map is not finite; the message names the maps and the model's first bad step and layer.

    own: keys of the user's maps, without a suffix.
    """
    bad = [key for key, array in arrays.items() if not np.isfinite(array).all()]
    if not bad:
        return
    if all(key.removesuffix(CHOSEN) in own for key in bad):
        raise ImapError(f"the maps {', '.join(bad)} are not finite: their own function returned NaN or infinity")
    where = [(step, layer) for layer, steps in scores.items() for step, x in steps.items() if not np.isfinite(x).all()]
    first = "first at step {}, layer {}".format(*min(where)) if where else "in the text keys"
    raise ImapError(
        f"the maps {', '.join(bad)} are not finite, {first}: the model itself made NaN or infinity there; "
        "try dtype=bfloat16 or float32 instead of float16"
    )
