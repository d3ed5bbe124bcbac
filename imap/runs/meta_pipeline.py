"""A pipeline of the real classes without weights: from the small files of a checkpoint, on torch's meta device."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline

from imap.backbones import FAMILIES
from imap.backbones.known import NOT_TRACED
from imap.errors import ImapError, brief, first_line

INDEX = "model_index.json"
EXPECTED = ", ".join(dict.fromkeys(adapter.pipeline_class for adapter in FAMILIES))
WITHOUT_WEIGHTS = ("transformer", "transformer_2", "vae")  # parts that are built


def read_index(source: str) -> dict[str, Any]:
    """The model_index.json of a checkpoint: class names of its pipeline and parts.

    Args:
        source: folder in diffusers format, or hub id; of a hub id only this file is downloaded.

    Raises:
        ImapError: if there is none, or it cannot be read.
    """
    folder = Path(source)
    if folder.is_file():
        raise ImapError(f"{source} is a file; expected a folder in diffusers format, with {INDEX}, or a hub id")
    if folder.is_dir() and not (folder / INDEX).is_file():
        raise ImapError(f"{source} has no {INDEX}; expected a folder in diffusers format, with one folder per part")
    try:
        index: Any = DiffusionPipeline.load_config(source)
    except (OSError, ValueError, RecursionError) as error:
        advice = "copy it again" if folder.is_dir() else "give a folder in diffusers format, or check the network"
        raise ImapError(f"cannot read {INDEX} of {source}: {first_line(error)}; {advice}") from None
    if not isinstance(index, Mapping) or not isinstance(index.get("_class_name"), str):
        raise ImapError(f"{INDEX} of {source} names no pipeline class of diffusers (_class_name)")
    return dict(index)


def class_of_part(index: Mapping[str, Any], name: str) -> str | None:
    """Class name of a part; None for a part that is not there."""
    match index.get(name):
        case [_, str(class_name)]:
            return class_name
    return None


def check_class(source: str, index: Mapping[str, Any]) -> None:
    """Raise ImapError for a pipeline of no known family, by the names of its classes alone."""
    kind, transformer = index["_class_name"], class_of_part(index, "transformer")
    if kind in NOT_TRACED:
        raise ImapError(f"cannot trace {source}, of class {kind}: {NOT_TRACED[kind]}")
    known = {adapter.transformer_class for adapter in FAMILIES}
    is_pipeline = inspect.isclass(found := getattr(diffusers, kind, None)) and issubclass(found, DiffusionPipeline)
    if is_pipeline and (transformer in known or class_of_part(index, "transformer_2") in known):
        return
    if not is_pipeline:
        what = f"diffusers {diffusers.__version__} has no such pipeline"
    elif transformer is None:
        what = "it has no transformer" + (", but a UNet" if class_of_part(index, "unet") else "")
    else:
        what = f"its transformer is a {transformer}"
    raise ImapError(f"cannot trace {source}, of class {brief(kind)[1:-1]}: {what}; expected one of {EXPECTED}")


def meta_pipeline(source: str, index: Mapping[str, Any]) -> DiffusionPipeline:
    """The pipeline of a checkpoint with its transformers and VAE on the meta device, and no other part.

    Args:
        source: folder in diffusers format, or hub id.
        index: its model_index.json, of a class that `check_class` knows.

    Raises:
        ImapError: for a configuration that is missing, damaged, or not of its class.
    """
    kind = getattr(diffusers, index["_class_name"])
    given: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if name in WITHOUT_WEIGHTS:
            given[name] = _part(source, name, class_of_part(index, name))
        elif parameter.default is inspect.Parameter.empty:
            given[name] = None
        elif name in index and not isinstance(index[name], list | tuple):  # a setting, not a part
            given[name] = index[name]
    try:
        return kind(**given)
    except Exception as error:  # each class fails in its own way
        raise ImapError(f"cannot build the {kind.__name__} of {source}: {first_line(error)}") from None


def _part(source: str, name: str, class_name: str | None) -> Any:
    """A part without weights; None if the checkpoint has none of this name."""
    if class_name is None:
        return None
    kind = getattr(diffusers, class_name, None)
    if not (inspect.isclass(kind) and issubclass(kind, diffusers.ModelMixin)):
        raise ImapError(f"the {name} of {source} is a {class_name}, and diffusers {diffusers.__version__} has none")
    model: Any = kind
    try:
        config: Any = model.load_config(source, subfolder=name)
        if not isinstance(config, Mapping) or "_class_name" not in config:  # defaults of the class would be built
            raise ValueError("it is not the configuration of a model")
        with torch.device("meta"):
            return model.from_config(config).eval()
    except Exception as error:  # a configuration can be wrong in many ways
        raise ImapError(
            f"cannot build the {name} of {source}, a {class_name}, from its config.json: {first_line(error)}; "
            "copy or download it again"
        ) from None
