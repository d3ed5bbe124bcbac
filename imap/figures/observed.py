"""Maps of single heads, which a run never keeps: seen layer by layer while a clip is read."""

from collections.abc import Collection, Sequence

import torch
from einops import rearrange
from torch import Tensor

from imap.methods.chunking import head_groups
from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights
from imap.methods.motion_heads import SCORES


class HeadMaps:
    """An `observe` for `imap.trace`: `layers[layer]` has the named separability scores, (h,) each, and the standardized
    Gram columns of the texts with a surrogate per head, (h, texts, f, p), on the host, of the last step read.

    wanted: the layers to keep. texts: how many there are; rows of the prompt's tokens may come behind theirs.
    """

    def __init__(self, scores: Sequence[str], wanted: Collection[int], texts: int) -> None:
        self.scores, self.wanted, self.texts = scores, wanted, texts
        self.layers: dict[int, tuple[dict[str, Tensor], Tensor]] = {}

    def __call__(self, layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        """Keep what a layer gives, if it is wanted."""
        if layer not in self.wanted:
            return
        scores: dict[str, list[Tensor]] = {name: [] for name in self.scores}
        maps = []
        for group in head_groups(attention.o, attention.keys.shape[1]):
            q, o, keys = (x[group].float() for x in (attention.q, attention.o, attention.keys))
            columns = standardized_columns(o, surrogates(matches(q, keys)), texts.weights, texts.rows[: self.texts])
            maps.append(rearrange(columns, "h f r p -> h r f p").cpu())
            for name, found in scores.items():
                found.append(SCORES[name].function(o).cpu())
        self.layers[layer] = {name: torch.cat(x) for name, x in scores.items()}, torch.cat(maps)
