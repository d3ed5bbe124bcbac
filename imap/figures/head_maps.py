"""Maps of single heads. A run sums over heads, so these are computed layer by layer while a clip is read."""

from collections.abc import Collection, Sequence

import torch
from einops import rearrange
from torch import Tensor

from imap.methods.chunking import head_groups
from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights
from imap.methods.motion_heads import SCORES


class HeadMaps:
    """An `observe` function of `imap.trace` that keeps scores and GramCol of every head, from the last step read.

    Each head has its own surrogates.

    Attributes:
        layers: by layer, the separability scores by name, (h,) each, and the standardized Gram columns
            (h, texts, f, p). Both are on the CPU.
    """

    def __init__(self, scores: Sequence[str], wanted: Collection[int], texts: int) -> None:
        """Keep nothing yet.

        Args:
            scores: names of separability scores.
            wanted: layers to keep.
            texts: number of texts. Rows of prompt tokens, which may follow theirs, are left out.
        """
        self.scores, self.wanted, self.texts = scores, wanted, texts
        self.layers: dict[int, tuple[dict[str, Tensor], Tensor]] = {}

    def __call__(self, layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        """Keep one layer, if it is wanted."""
        if layer not in self.wanted:
            return
        scores: dict[str, list[Tensor]] = {name: [] for name in self.scores}
        maps = []
        for group in head_groups(attention.o, attention.keys.shape[1]):
            q, o, keys = (x[group].float() for x in (attention.q, attention.o, attention.keys))
            columns = standardized_columns(o, surrogates(matches(q, keys)), texts.weights, texts.rows[: self.texts])
            maps.append(rearrange(columns, "h f r p -> h r f p").cpu())
            for name, values in scores.items():
                values.append(SCORES[name].function(o).cpu())
        self.layers[layer] = {name: torch.cat(x) for name, x in scores.items()}, torch.cat(maps)
