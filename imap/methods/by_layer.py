"""Maps of single layers and steps, by their numbers: what the setting `keep` has kept. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imap.errors import ImapError
from imap.methods.registry import CHOSEN

LAYERS, STEPS = KEEP = ("layers", "steps")
BY_LAYER, BY_STEP, BY_BOTH = "by_layer", "by_step", "by_layer_and_step"  # folders in npy/


@dataclass(frozen=True, eq=False)
class Kept:
    """Maps (texts, frames, height, width) with an axis of layers, steps or both after texts, and their numbers."""

    array: np.ndarray
    layers: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()


class ByLayerAndStep:
    """Maps of single layers and steps, of a trace with `keep`. Arrays of a folder are read when they are used."""

    kept: Mapping[str, Kept]  # by the name of the file, such as by_layer/imap

    def by_layer(self: Any, text: str, key: str | None = None, step: int | None = None) -> dict[int, np.ndarray]:
        """Maps of a text by layer, each (frames, height, width). Their mean over the layers is `of(text, key)`.

        With `softmax` it is not, as a second softmax follows the mean over layers.

        Args:
            text, key: as in `Maps.of`. The layers are those of the key: `imap_layer`, or `maps_layers`.
            step: take the maps at one step. Default: their mean over steps.

        Raises:
            ImapError: if they were not kept. keep="layers" keeps them; step= needs keep=("layers", "steps").
        """
        name: str = self.key_of(text, key)
        one = _kept(self, BY_LAYER if step is None else BY_BOTH, name.removesuffix(CHOSEN))
        maps = one.array[self.texts.index(text)]
        if step is not None:
            maps = maps[:, _place("step", step, one.steps)]
        method = self.facts["method"]
        chosen = method["imap_layer"] if name.endswith(CHOSEN) else range(*method["maps_layers"])
        return {layer: maps[i] for i, layer in enumerate(one.layers) if layer in chosen}

    def by_step(self: Any, text: str, key: str | None = None, layer: int | None = None) -> dict[int, np.ndarray]:
        """Maps of a text by step, each (frames, height, width). Their mean over the steps is `of(text, key)`.

        Args:
            text, key: as in `Maps.of`.
            layer: take the maps of one layer. Default: their mean over the layers of the key.

        Raises:
            ImapError: if they were not kept. keep="steps" keeps them; layer= needs keep=("layers", "steps").
        """
        name: str = self.key_of(text, key)
        one = _kept(self, BY_STEP, name) if layer is None else _kept(self, BY_BOTH, name.removesuffix(CHOSEN))
        maps = one.array[self.texts.index(text)]
        if layer is not None:
            maps = maps[_place("layer", layer, one.layers)]
        return {step: maps[i] for i, step in enumerate(one.steps)}


def _kept(maps: Any, folder: str, key: str) -> Kept:
    if f"{folder}/{key}" in maps.kept:
        return maps.kept[f"{folder}/{key}"]
    keys = [name.partition("/")[2] for name in maps.kept if name.startswith(f"{folder}/")]
    if keys:
        raise ImapError(f"maps {key!r} were not kept {folder.replace('_', ' ')}; there are {', '.join(keys)}")
    keep = {BY_LAYER: '"layers"', BY_STEP: '"steps"', BY_BOTH: '("layers", "steps")'}[folder]
    raise ImapError(f"maps {folder.replace('_', ' ')} were not kept; read them with keep={keep}")


def _place(what: str, number: int, known: tuple[int, ...]) -> int:
    if number not in known:
        raise ImapError(f"no {what} {number!r} was kept; there are {', '.join(map(str, known))}")
    return known.index(number)
