"""Where a map is lost: how often the surrogate lies on the thing, and GramCol with a surrogate that always does."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights


def centre(place: np.ndarray) -> np.ndarray:
    """The cell of each frame's thing that is nearest to its middle, (f,) indices into height * width; -1 where there is
    no thing. place: (f, height, width) booleans."""
    found = np.full(len(place), -1)
    for frame, own in enumerate(place):
        if own.any():
            cells = np.argwhere(own)
            y, x = cells[np.square(cells - cells.mean(axis=0)).sum(axis=1).argmin()]
            found[frame] = y * place.shape[2] + x
    return found


class OracleSurrogate:
    """An `observe` for `imap.trace`, with the published surrogate (per head) and standardization.

    places: by row of the maps, where the word's thing is, (f, height, width) booleans, or None where nobody knows: such
    a word keeps its own surrogate. layers: those that count.
    """

    def __init__(self, places: Sequence[np.ndarray | None], layers: Collection[int]) -> None:
        self.rows, self.layers = len(places), layers
        self.places = {row: torch.from_numpy(x.reshape(len(x), -1)) for row, x in enumerate(places) if x is not None}
        self.centres = {row: torch.from_numpy(centre(x)) for row, x in enumerate(places) if x is not None}
        self._maps: list[Tensor] = []
        # by whether heads agree on one (consensus), by row: of each layer and step
        self._hits: dict[bool, dict[int, list[float]]] = {x: {row: [] for row in self.places} for x in (False, True)}

    def __call__(self, layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        """Take in what a layer gives, if it counts."""
        if layer not in self.layers:
            return
        q, o, keys = (x.float().cpu() for x in (attention.q, attention.o, attention.keys))
        texts = texts.to(o.device)
        logits = matches(q, keys)
        own, agreed = surrogates(logits), surrogates(logits.mean(dim=0, keepdim=True))
        index = own.clone()
        for row, place in self.places.items():
            slots = torch.nonzero(texts.rows[row] > 0)[:, 0]
            seen = torch.nonzero(self.centres[row] >= 0)[:, 0]
            for hits, found in zip(self._hits.values(), (own, agreed), strict=True):
                hits[row].append(share(place[seen], found[:, seen][..., slots]))
            index[:, seen[:, None], slots] = self.centres[row][seen][:, None]
        columns = standardized_columns(o, index, texts.weights, texts.rows[: self.rows])
        self._maps.append(rearrange(columns.mean(dim=0), "f r p -> r f p"))

    def maps(self) -> np.ndarray:
        """GramCol with the oracle surrogate, (rows, f, p): the mean over heads, layers and steps."""
        return torch.stack(self._maps).mean(dim=0).numpy()

    def on_thing(self, row: int, consensus: bool) -> float:
        """How often the model's own surrogate of a row lies on the thing: share of heads, frames, layers and steps."""
        return float(np.mean(self._hits[consensus][row]))


def share(place: Tensor, index: Tensor) -> float:
    """Share of surrogates, (h, f, slots) patches, that lie on the thing: place (f, p)."""
    hit = place.expand(len(index), -1, -1).gather(2, index)
    return float(hit.float().mean())
