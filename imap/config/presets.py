"""Settings of the paper for each model, from configs/backbone/: one source for the commands and the Python API."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.errors import ImapError

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Preset:
    """A model's configuration: its family, its size and the paper's settings."""

    name: str
    family: str
    num_layers: int
    num_heads: int
    is_trained: bool  # not random weights
    is_published: bool  # on the hub: a model of the paper
    paper: dict[str, Any]


OmegaConf.register_new_resolver("imap", lambda path: str(PACKAGE / path), replace=True)


def config_folder() -> Path:
    """The Hydra configs: beside the package in a checkout, inside it in a wheel."""
    inside, beside = PACKAGE / "configs", PACKAGE.parent / "configs"
    folder = inside if inside.is_dir() else beside
    if not (folder / "backbone").is_dir():
        raise ImapError(f"no configs at {beside}; reinstall imap, or run it from its checkout")
    return folder


@cache
def presets() -> dict[str, Preset]:
    """Every preset by name, in order of name."""
    found = {}
    for path in sorted((config_folder() / "backbone").glob("*.yaml")):
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        found[path.stem] = Preset(
            path.stem,
            config["family"],
            config["num_layers"],
            config["num_heads"],
            config["id"] is not None or config["path"] is not None,
            config["id"] is not None,
            config["paper"],
        )
    return found


def preset_for(family: str, num_layers: int, num_heads: int) -> Preset:
    """The preset of a loaded model, by its family and size.

    A model of another size gets all layers, a fifth of its heads as motion heads, and its family's text target.
    """
    of_family = [preset for preset in presets().values() if preset.family == family and preset.is_trained]
    for preset in of_family:
        if (preset.num_layers, preset.num_heads) == (num_layers, num_heads):
            return preset
    paper = dict(next(preset.paper for preset in of_family if preset.is_published))
    paper |= {"imap_layer": list(range(num_layers)), "imap_sep_topk": max(1, num_heads // 5)}
    return Preset(f"{family} of {num_layers} layers", family, num_layers, num_heads, False, False, paper)
