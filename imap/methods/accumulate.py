"""Means over layers and steps with one buffer per key, for any number of layers and steps (docs/method.md, 6)."""

from collections.abc import Collection

import torch
from torch import Tensor

Sum = tuple[str, frozenset[int]]  # a key, and the layers that it is averaged over


class RunningMaps:
    """Collects layer maps of (rows, f, p): mean over the layers of a step, then mean over steps.

    Every key `X` is averaged over `all_layers`, and `X_layers` over `chosen_layers`. Equal lists of layers share one
    buffer, to save memory in narrow models. With softmax, the mean of a step goes through a second softmax over the
    rows, as in the release; a single row does not, as it would become constant. Rows after the first `texts` are the
    prompt's tokens, with their own softmax.
    """

    def __init__(
        self,
        all_layers: Collection[int],
        chosen_layers: Collection[int],
        softmax: bool,
        texts: int | None = None,
        plain: Collection[str] = (),
    ) -> None:
        """plain: keys of maps that no softmax over texts follows."""
        self.groups = {"": frozenset(all_layers), "_layers": frozenset(chosen_layers)}
        self.softmax, self.plain = softmax, frozenset(plain)
        self.texts = texts
        self.steps = 0
        self._step: dict[Sum, Tensor] = {}
        self._total: dict[Sum, Tensor] = {}

    def add(self, layer: int, maps: dict[str, Tensor]) -> None:
        """Add the maps of one layer at the current step."""
        for layers in dict.fromkeys(self.groups.values()):
            if layer in layers:
                for key, value in maps.items():
                    _accumulate(self._step, (key, layers), value / len(layers))

    def drop_step(self) -> None:
        """Discard what an interrupted step has added."""
        self._step = {}

    def end_step(self) -> dict[Sum, Tensor]:
        """Add the current step to the mean over steps. Returns the step's own means, which may change afterwards."""
        done = {}
        for name, value in self._step.items():
            softmax = self.softmax and name[0] not in self.plain
            done[name] = self._over_texts(value) if softmax else value
            _accumulate(self._total, name, done[name])
        self._step = {}
        self.steps += 1
        return done

    def _over_texts(self, rows: Tensor) -> Tensor:
        texts = len(rows) if self.texts is None else self.texts
        parts = (part for part in (rows[:texts], rows[texts:]) if len(part))
        return torch.cat([part.softmax(dim=0) if len(part) > 1 else part for part in parts])

    def means(self) -> dict[str, Tensor]:
        """Mean over steps by key, (rows, f, p), on the device."""
        return {
            key + suffix: value / self.steps
            for suffix, own in self.groups.items()
            for (key, layers), value in self._total.items()
            if layers == own
        }


def _accumulate(sums: dict[Sum, Tensor], name: Sum, value: Tensor) -> None:
    if name in sums:
        sums[name] += value.to(sums[name].device)  # blocks of one model may sit on several devices
    else:
        sums[name] = value
