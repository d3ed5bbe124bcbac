"""Quantization of a model while it is loaded, by diffusers and transformers."""

from importlib import import_module
from typing import Any

import diffusers
import transformers
from packaging.version import parse
from torch import nn

from imap.backbones import backbone_of
from imap.backbones.base import Backbone
from imap.config.model import Model
from imap.errors import ImapError, first_line

TORCHAO_CLASSES = {
    "torchao_int8": ("int8wo", "Int8WeightOnlyConfig"),
    "torchao_float8": ("float8wo", "Float8WeightOnlyConfig"),
}
TAKES_OBJECTS = parse(diffusers.__version__) >= parse("0.42")  # else names of torchao's configurations
TEXT_ENCODER = "text_encoder"


def quantization_configs(model: Model, adapter: type[Backbone]) -> dict[str, Any]:
    """Configurations of diffusers and transformers by component; none without `backbone.quantization`.

    Args:
        model: checked settings.
        adapter: of the model's family.

    Raises:
        ImapError: if the package does not work here.
    """
    name = model.weights.quantization
    if name is None:
        return {}
    try:
        found = {part: _config(diffusers, name, model) for part in adapter.transformers}
        if model.weights.quantizes_text:
            found[TEXT_ENCODER] = _config(transformers, name, model)
    except Exception as error:  # each package refuses versions and machines in its own way
        raise ImapError(
            f"backbone.quantization={name} does not work here: {first_line(error)}; set backbone.quantization=null"
        ) from None
    return found


def check_quantized(pipe: Any, model: Model) -> None:
    """Raise ImapError if a part that is to be quantized has its weights as they were."""
    if model.weights.quantization is None:
        return
    text = [TEXT_ENCODER] if model.weights.quantizes_text else []
    for name in (*backbone_of(pipe).transformers, *text):
        weights = [x.weight for x in getattr(pipe, name).modules() if isinstance(x, nn.Linear)]
        if all(type(weight) is nn.Parameter for weight in weights):
            raise ImapError(
                f"backbone.quantization={model.weights.quantization} has not changed the {name}; set "
                "backbone.quantization=null"
            )


def _config(library: Any, name: str, model: Model) -> Any:
    """The configuration of one component. library: diffusers or transformers, whichever loads it."""
    if name == "bitsandbytes_8bit":
        return library.BitsAndBytesConfig(load_in_8bit=True)
    if name == "bitsandbytes_4bit":
        return library.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=model.dtype)
    old, kind = TORCHAO_CLASSES[name]
    by_name = library is diffusers and not TAKES_OBJECTS
    return library.TorchAoConfig(old if by_name else getattr(import_module("torchao.quantization"), kind)())
