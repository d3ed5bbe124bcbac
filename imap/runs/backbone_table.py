"""The models that imap has a configuration for, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from imap.config.method import AUTO
from imap.config.presets import Preset, config_folder, presets

PART_OF_IMAP, ON_THIS_MACHINE = "part of imap", "made on this machine"
HEAD = ("backbone=", "checkpoint", "family", "blocks x heads", "frames x height x width", "weights", "status")


@dataclass(frozen=True)
class KnownBackbone:
    """A configuration of configs/backbone/.

    Attributes:
        name: value of `backbone=`.
        source: hub id or folder of its weights; None for random weights.
        preset: its sizes and defaults.
    """

    name: str
    source: str | None
    preset: Preset

    @property
    def status(self) -> str:
        """Where the layers of its maps come from."""
        if not self.preset.is_trained:
            return "random weights, for tests"
        if self.preset.paper["imap_layer"] == AUTO:
            return "chosen by lambda_2 (imap_layer=auto)"
        if self.preset.is_published and self.preset.paper["imap_layer"] == list(range(self.preset.num_layers)):
            return "all layers: nobody has tuned them"
        return "layers of the paper" if self.preset.is_published else "layers tuned by us"

    @property
    def checkpoint(self) -> str:
        """Hub id, or where the weights are."""
        if self.preset.is_published:
            return self.source or ""
        return PART_OF_IMAP if self.preset.is_trained else ON_THIS_MACHINE

    def cells(self) -> tuple[str, ...]:
        """Its row, in the order of HEAD."""
        preset, paper = self.preset, self.preset.paper
        size = f"{paper['num_frames']}x{paper['height']}x{paper['width']}"
        heads = f"{preset.num_layers} x {preset.num_heads}"
        weights = f"{preset.weights_gb:.1f} GB" if preset.weights_gb else "-" if preset.is_published else "small"
        return (self.name, self.checkpoint, preset.family, heads, size, weights, self.status)


def known_backbones() -> list[KnownBackbone]:
    """All configurations: published models, then small trained ones, then those with random weights."""
    found = []
    for name, preset in presets().items():
        config: Any = OmegaConf.load(config_folder() / "backbone" / f"{name}.yaml")
        found.append(KnownBackbone(name, config.id or config.path, preset))
    return sorted(found, key=lambda x: (not x.preset.is_trained, not x.preset.is_published, x.name))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, with the cells of a column one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def table() -> str:
    """The table of all configurations."""
    return "\n".join(columns([HEAD, *(x.cells() for x in known_backbones())]))
