"""The paper's settings for each model, from configs/backbone/. Commands and the Python API share them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from imap.errors import ImapError

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Preset:
    """A model's configuration.

    Attributes:
        is_trained: has weights that are not random.
        is_published: is on the model hub.
        paper: defaults of settings; those of the paper for its models.
        words: all words of its training; None for any.
        weights_gb: GB of all its weights in bfloat16; None for small models.
    """

    name: str
    family: str
    num_layers: int
    num_heads: int
    is_trained: bool
    is_published: bool
    paper: dict[str, Any]
    words: tuple[str, ...] | None = None
    weights_gb: float | None = None


OmegaConf.register_new_resolver("imap", lambda path: str(PACKAGE / path), replace=True)


def config_folder() -> Path:
    """The folder of Hydra configurations: beside the package in a checkout, inside it in a wheel."""
    inside, beside = PACKAGE / "configs", PACKAGE.parent / "configs"
    folder = inside if inside.is_dir() else beside
    if not (folder / "backbone").is_dir():
        raise ImapError(f"no configs at {beside}; reinstall imap, or run it from its checkout")
    return folder


@cache
def presets() -> dict[str, Preset]:
    """All presets by name, in alphabetical order."""
    by_name = {}
    for path in sorted((config_folder() / "backbone").glob("*.yaml")):
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        by_name[path.stem] = Preset(
            path.stem,
            config["family"],
            config["num_layers"],
            config["num_heads"],
            config["id"] is not None or config["path"] is not None,
            config["id"] is not None,
            config["paper"],
            tuple(config["words"]) if "words" in config else None,
            config.get("weights_gb"),
        )
    return by_name


def preset_for(family: str, num_layers: int, num_heads: int) -> Preset:
    """The preset of a loaded model.

    A model of an unknown size gets all layers, a fifth of its heads as motion heads, and the text target of its family.

    Args:
        family: name of the adapter.
        num_layers: blocks with maps.
        num_heads: attention heads of a block.
    """
    of_family = [preset for preset in presets().values() if preset.family == family and preset.is_trained]
    for preset in of_family:
        if (preset.num_layers, preset.num_heads) == (num_layers, num_heads):
            return preset
    published = [preset.paper for preset in of_family if preset.is_published]
    if not published:
        raise ImapError(f"no model of the family {family} has an id in configs/backbone; add a configuration with one")
    paper = dict(published[0])
    paper |= {"imap_layer": list(range(num_layers)), "imap_sep_topk": max(1, num_heads // 5)}
    return Preset(f"{family} of {num_layers} layers", family, num_layers, num_heads, False, False, paper)
