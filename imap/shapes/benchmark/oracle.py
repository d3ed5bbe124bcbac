"""Oracle surrogate: GramCol with a surrogate at the true place, and the share of surrogates that lie on the object."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, LayerMaps, SlotWeights


def central_cells(place: np.ndarray) -> np.ndarray:
    """Cell of the object that is nearest to its centre, in each frame.

    Args:
        place: Booleans (f, height, width), the cells of the object.

    Returns:
        Indices (f,) into height * width; -1 in frames without the object.
    """
    centres = np.full(len(place), -1)
    for frame, is_object in enumerate(place):
        if is_object.any():
            cells = np.argwhere(is_object)
            y, x = cells[np.square(cells - cells.mean(axis=0)).sum(axis=1).argmin()]
            centres[frame] = y * place.shape[2] + x
    return centres


class OracleSurrogate:
    """An `observe` function for `imap.renoise`: GramCol per head (docs/method.md, 2) with the oracle surrogate."""

    def __init__(self, places: Sequence[np.ndarray | None], layers: Collection[int]) -> None:
        """Prepare the oracle of one clip.

        Args:
            places: Booleans (f, height, width) for each row of the maps, the cells of the word's object. None means
                that the place is unknown; such a word keeps the model's surrogate.
            layers: Layers that count.
        """
        self.rows, self.layers = len(places), layers
        self.places = {row: torch.from_numpy(x.reshape(len(x), -1)) for row, x in enumerate(places) if x is not None}
        self.centres = {row: torch.from_numpy(central_cells(x)) for row, x in enumerate(places) if x is not None}
        self._maps: list[Tensor] = []
        # by surrogate (False: per head, True: consensus), then by row: shares of each layer and step
        self._hits: dict[bool, dict[int, list[float]]] = {x: {row: [] for row in self.places} for x in (False, True)}

    def __call__(self, layer: int, step: int, attention: LayerActivations, texts: SlotWeights, read: LayerMaps) -> None:
        """Read the activations of a layer, if it counts."""
        if layer not in self.layers:
            return
        q, o, keys = (x.float().cpu() for x in (attention.q, attention.o, attention.keys))
        texts = texts.to(o.device)
        logits = matches(q, keys)
        per_head, consensus = surrogates(logits), surrogates(logits.mean(dim=0, keepdim=True))
        index = per_head.clone()
        for row, place in self.places.items():
            slots = torch.nonzero(texts.rows[row] > 0)[:, 0]
            frames = torch.nonzero(self.centres[row] >= 0)[:, 0]  # frames with the object
            for hits, surrogate in zip(self._hits.values(), (per_head, consensus), strict=True):
                hits[row].append(share_on_object(place[frames], surrogate[:, frames][..., slots]))
            index[:, frames[:, None], slots] = self.centres[row][frames][:, None]
        columns = standardized_columns(o, index, texts.weights, texts.rows[: self.rows])
        self._maps.append(rearrange(columns.mean(dim=0), "f r p -> r f p"))

    def maps(self) -> np.ndarray:
        """GramCol with the oracle surrogate, (rows, f, p), mean over heads, layers and steps."""
        return torch.stack(self._maps).mean(dim=0).numpy()

    def on_object(self, row: int, consensus: bool) -> float:
        """Share of heads, frames, layers and steps in which the model's surrogate of a row lies on the object."""
        return float(np.mean(self._hits[consensus][row]))


def share_on_object(place: Tensor, index: Tensor) -> float:
    """Share of surrogates that lie on the object.

    Args:
        place: Booleans (f, p), the object's patches.
        index: Surrogates (h, f, slots), indices of patches.
    """
    hit = place.expand(len(index), -1, -1).gather(2, index)
    return float(hit.float().mean())
