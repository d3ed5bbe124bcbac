"""Maps of single layers and steps, beside their means, where the setting `keep` wants them (docs/method.md, 6)."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from imap.methods.accumulate import Sum
from imap.methods.by_layer import BY_BOTH, BY_LAYER, BY_STEP, LAYERS, STEPS

Numbered = tuple[Tensor, tuple[int, ...], tuple[int, ...]]  # maps, and the numbers of their layers and steps


class Keeper:
    """Collects layer maps of (rows, f, p): those of each layer in the mean over steps, those of each step, or both.

    Sums of layers and maps of steps stay on the device. Maps of every layer at every step go to the host, once a step.
    """

    def __init__(self, keep: Collection[str], texts: int) -> None:
        """keep: any of KEEP. texts: rows that are kept, the first ones; the prompt's tokens follow them."""
        self.layers, self.steps, self.texts = LAYERS in keep, STEPS in keep, texts
        self._step: dict[str, dict[int, Tensor]] = {}  # key, layer
        self._sums: dict[str, dict[int, Tensor]] = {}
        self._by_step: dict[Sum, list[Tensor]] = {}
        self._both: dict[str, list[Tensor]] = {}  # (texts, layers, steps, f, p), on the host
        self._read: list[int] = []

    def add(self, layer: int, maps: Mapping[str, Tensor]) -> None:
        """Add the maps of one layer at the current step."""
        if self.layers:
            for key, value in maps.items():
                self._step.setdefault(key, {})[layer] = value[: self.texts].clone()

    def drop_step(self) -> None:
        """Discard what an interrupted step has added."""
        self._step = {}

    def end_step(self, step: int, means: Mapping[Sum, Tensor]) -> None:
        """Keep the current step under its number. means: over the layers of the step, as `RunningMaps` has them."""
        self._read.append(step)
        for key, by_layer in self._step.items():
            if self.steps:
                self._both.setdefault(key, []).append(_stacked(list(by_layer.values())).unsqueeze(2).cpu())
            sums = self._sums.setdefault(key, {})
            for layer, value in by_layer.items():
                sums[layer] = sums[layer].add_(value) if layer in sums else value
        if self.steps:
            for name, value in means.items():
                self._by_step.setdefault(name, []).append(value[: self.texts].clone())  # the means go on as sums
        self._step = {}

    def kept(self, groups: Mapping[str, frozenset[int]]) -> dict[str, Numbered]:
        """Maps by the name of their file, each (texts, f, p) with an axis of layers, of steps or of both after texts.

        groups: layers of the keys' suffixes, as in `RunningMaps`.
        """
        order = sorted(range(len(self._read)), key=self._read.__getitem__)
        steps = tuple(self._read[i] for i in order)
        found: dict[str, Numbered] = {}
        for key, sums in self._sums.items():
            layers = tuple(sums)
            found[f"{BY_LAYER}/{key}"] = (_stacked(list(sums.values())) / len(steps), layers, ())
        for key, parts in self._both.items():
            self._both[key] = [torch.cat(parts, dim=2)] if len(parts) > 1 else parts  # key by key: one copy at a time
            both = self._both[key][0]
            in_order = both if steps == tuple(self._read) else both[:, :, order]
            found[f"{BY_BOTH}/{key}"] = (in_order, tuple(self._sums[key]), steps)
        for suffix, own in groups.items():
            for (key, layers), values in self._by_step.items():
                if layers == own:
                    found[f"{BY_STEP}/{key}{suffix}"] = (_stacked([values[i] for i in order]), (), steps)
        return found


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """Maps (texts, f, p) of several layers or steps as (texts, n, f, p). Blocks may sit on several devices."""
    return torch.stack([x.to(values[0].device) for x in values], dim=1)


def kept_bytes(keep: Collection[str], layers: int, steps: int, texts: int, keys: int, cells: int) -> int:
    """Bytes of what is kept. keys: maps of a layer, whose means are over two lists of layers. cells: of one map."""
    per_key = (layers if LAYERS in keep else 0) + (2 * steps if STEPS in keep else 0)
    per_key += layers * steps if {LAYERS, STEPS} <= set(keep) else 0
    return 4 * per_key * keys * texts * cells
