"""LoRAs of a pipeline: checked before the model is loaded, and put on it by the pipeline's own functions."""

from pathlib import Path
from typing import Any

import diffusers

from imap.backbones.base import Backbone
from imap.config.model import Model
from imap.config.weights import LORAS, Lora
from imap.errors import ImapError, first_line
from imap.runs.weights import header_of

SETTING = {part: setting for setting, part in LORAS.items()}
DOWN = ("lora_A.weight", "lora.down.weight", "lora_down.weight")  # one such tensor for each layer of a LoRA


def check_loras(model: Model, adapter: type[Backbone]) -> None:
    """Raise ImapError for LoRAs that a family does not take, and for local files that hold none."""
    for lora in model.weights.loras:
        setting = f"backbone.{SETTING[lora.part]}"
        if not hasattr(getattr(diffusers, adapter.pipeline_class), "load_lora_weights"):
            raise ImapError(f"{setting}: a {adapter.pipeline_class} of diffusers takes no LoRA; set null")
        if lora.part not in adapter.transformers:
            raise ImapError(f"{setting}={lora.source}: backbone={model.name} has one transformer; leave it null")
        if not lora.is_local:
            continue
        try:
            keys = header_of(Path(lora.source)).keys()
        except (OSError, ValueError) as error:
            raise ImapError(f"{setting}: cannot read {lora.source}: {first_line(error)}; copy it again") from None
        if not any(key.endswith(DOWN) for key in keys):
            raise ImapError(f"{setting}: {lora.source} holds no LoRA (no tensor of the names {', '.join(DOWN)})")


def add_loras(pipe: Any, model: Model) -> None:
    """Load the LoRAs of a model, and set their weights. They stay beside the transformer's own weights.

    Args:
        pipe: without offload yet.
        model: checked settings.

    Raises:
        ImapError: if a LoRA cannot be loaded, or has layers that the transformer has not.
    """
    loras = model.weights.loras
    names = [f"lora_{place}" for place in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        what = f"backbone.{SETTING[lora.part]}: {lora.source}"
        second = {"load_into_transformer_2": True} if lora.part == "transformer_2" else {}
        source = {"weight_name": lora.file} if lora.file else {}
        try:
            pipe.load_lora_weights(lora.source, adapter_name=name, use_safetensors=True, **source, **second)
            wanted, found = _layers_of(pipe, lora), _layers_with(getattr(pipe, lora.part), name)
        except Exception as error:  # each conversion fails in its own way
            raise ImapError(f"{what} does not fit {type(pipe).__name__}: {first_line(error)}") from None
        if found < max(wanted, 1):
            raise ImapError(
                f"{what} does not fit {type(pipe).__name__}: only {found} of its {wanted} layers are in this "
                "transformer; use a LoRA of this model"
            )
    for part in dict.fromkeys(lora.part for lora in loras):
        own = [(name, lora.weight) for name, lora in zip(names, loras, strict=True) if lora.part == part]
        getattr(pipe, part).set_adapters([name for name, _ in own], [weight for _, weight in own])


def _layers_of(pipe: Any, lora: Lora) -> int:
    """Layers of a LoRA under diffusers' names."""
    how = {"weight_name": lora.file} if lora.file else {}
    found: Any = pipe.lora_state_dict(lora.source, use_safetensors=True, **how)
    weights = found[0] if isinstance(found, tuple) else found
    return sum(key.endswith(DOWN) for key in weights)


def _layers_with(transformer: Any, name: str) -> int:
    """Layers of a transformer that have an adapter."""
    return sum(name in (getattr(module, "lora_A", None) or ()) for module in transformer.modules())
