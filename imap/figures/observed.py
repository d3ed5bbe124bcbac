"""Maps of single heads, which a run never keeps: seen layer by layer while a clip is read."""

import torch
from torch import Tensor, einsum

from imap.maps.gramcol import standardized_columns, surrogates
from imap.maps.grouping import head_groups
from imap.maps.layer import Layer, LayerMaps, Texts
from imap.maps.separability import SCORES


class HeadMaps:
    """An `observe` for `imap.trace`: by layer, every separability score (h,) and the standardized Gram columns of the
    texts, (h, rows, f, p), on the host. Of one step: the last one that is read."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[dict[str, Tensor], Tensor]] = {}

    def __call__(self, layer: int, step: int, attention: Layer, texts: Texts, read: LayerMaps) -> None:
        heads, frames, patches, width = attention.o.shape
        scores: dict[str, list[Tensor]] = {name: [] for name in SCORES}
        maps = []
        for group in head_groups(heads, frames * patches, attention.keys.shape[1], width):
            q, o, keys = (x[group].float() for x in (attention.q, attention.o, attention.keys))
            index = surrogates(einsum("hfpd,htd->htfp", q, keys))
            maps.append(einsum("rt,hftp->hrfp", texts.rows, standardized_columns(o, index, texts.weights)).cpu())
            for name, score in SCORES.items():
                scores[name].append(score.function(o).cpu())
        self.layers[layer] = {name: torch.cat(x) for name, x in scores.items()}, torch.cat(maps)
