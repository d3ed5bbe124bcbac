"""Checked settings of weights beside a checkpoint's own: transformer files, quantization and LoRAs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from imap.config.checks import check_boolean, check_path
from imap.config.file_hash import sha256_of_weights
from imap.errors import ImapError, brief

TRANSFORMERS = ("transformer", "transformer_2")
LORAS = {"lora": "transformer", "lora_2": "transformer_2"}  # settings, and the part that each is for
SAFETENSORS, GGUF = ".safetensors", ".gguf"
QUANTIZATIONS = {
    "bitsandbytes_8bit": "bitsandbytes",
    "bitsandbytes_4bit": "bitsandbytes",
    "torchao_int8": "torchao",
    "torchao_float8": "torchao",
}  # and the package of each
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+\.safetensors)?")
LORA_FILE = "pytorch_lora_weights.safetensors"  # as diffusers saves it
LARGEST_WEIGHT = 100


@dataclass(frozen=True)
class Lora:
    """A LoRA of one transformer.

    Attributes:
        part: component that gets it.
        source: file, or hub id.
        file: of the hub id; None for the one that diffusers finds.
        weight: factor of what it adds.
    """

    part: str
    source: str
    file: str | None
    weight: float

    @property
    def is_local(self) -> bool:
        return self.source.endswith(SAFETENSORS)

    def recorded(self) -> dict[str, Any]:
        """Plain values that identify it and its weight."""
        if self.is_local:
            return _recorded_file(self.source) | {"weight": self.weight}
        return {"id": self.source} | ({"file": self.file} if self.file else {}) | {"weight": self.weight}


@dataclass(frozen=True)
class OtherWeights:
    """Weights beside a checkpoint's own.

    Attributes:
        files: of transformers, by component.
        quantization: a key of QUANTIZATIONS; None for weights as they are.
        quantizes_text: the text encoder too.
        loras: in order.
    """

    files: Mapping[str, str]
    quantization: str | None = None
    quantizes_text: bool = False
    loras: Sequence[Lora] = ()

    @property
    def are_packed(self) -> bool:
        """Whether weights of a transformer are stored in fewer bits than they are computed with."""
        return self.quantization is not None or any(file.endswith(GGUF) for file in self.files.values())

    def recorded(self) -> dict[str, Any]:
        """Plain values of what is set; nothing for a checkpoint as it is."""
        found: dict[str, Any] = {f"{part}_file": _recorded_file(file) for part, file in self.files.items()}
        if self.quantization is not None:
            found["quantization"] = self.quantization
            found |= {"quantize_text": True} if self.quantizes_text else {}
        for setting, part in LORAS.items():
            own = [lora.recorded() for lora in self.loras if lora.part == part]
            found |= {setting: own} if own else {}
        return found


NOTHING = OtherWeights({})


def other_weights(config: Mapping[str, Any], device: torch.device) -> OtherWeights:
    """Check the settings of weights in the `backbone` group of a configuration.

    Args:
        config: the group.
        device: of the model.

    Raises:
        ImapError: for a missing file, another format, a missing package, or values that do not fit.
    """
    files = {name: _transformer_file(name, config[name]) for name in TRANSFORMERS if config.get(name) is not None}
    loras = [lora for setting in LORAS for lora in _loras(setting, config)]
    if loras:
        _need("peft", "backbone.lora")
    text = check_boolean("backbone.quantize_text", config.get("quantize_text", False))
    found = OtherWeights(files, _quantization(config, device), text, tuple(loras))
    if found.quantizes_text and found.quantization is None:
        raise ImapError("backbone.quantize_text=true needs a backbone.quantization; set one, or set false")
    if files and found.quantization:  # diffusers 0.42.1 does not quantize single files, and gives no warning
        raise ImapError(
            f"backbone.quantization={found.quantization} is for a checkpoint's own transformer, and backbone."
            f"{next(iter(files))} sets a file; take a GGUF file, or set one of the two to null"
        )
    if found.are_packed and (config["offload"] in ("sequential", "group") or config["device_map"] is not None):
        raise ImapError(
            "quantized weights move as whole models only; set backbone.offload=model or none, and "
            "backbone.device_map=null"
        )
    return found


def _transformer_file(name: str, value: Any) -> str:
    path = check_path(f"backbone.{name}", value)
    if Path(path).suffix not in (SAFETENSORS, GGUF):
        raise ImapError(f"backbone.{name}: {path} is neither a {SAFETENSORS} nor a {GGUF} file; set one of these")
    if not Path(path).is_file():
        raise ImapError(f"backbone.{name}: there is no file {path}; set an existing one, or null")
    if path.endswith(GGUF):
        _need("gguf", f"backbone.{name}={Path(path).name}")
    return path


def _quantization(config: Mapping[str, Any], device: torch.device) -> str | None:
    value = config.get("quantization")
    if value is None:
        return None
    if not isinstance(value, str) or value not in QUANTIZATIONS:
        raise ImapError(
            f"backbone.quantization={brief(value)} is not known; it can be null, {', '.join(QUANTIZATIONS)}"
        )
    _need(QUANTIZATIONS[value], f"backbone.quantization={value}")
    if QUANTIZATIONS[value] == "bitsandbytes" and device.type != "cuda":
        raise ImapError(
            f"backbone.quantization={value} needs a GPU, and the device is {device}; set backbone.quantization="
            "torchao_int8, or null"
        )
    return value


def _loras(setting: str, config: Mapping[str, Any]) -> list[Lora]:
    """LoRAs of a setting, with the weights of the setting beside it."""
    sources, weights = config.get(setting), config.get(f"{setting}_weights")
    listed: list[Any]
    if sources is None:
        if weights is not None:
            raise ImapError(f"backbone.{setting}_weights={brief(weights)} without backbone.{setting}; set both or none")
        return []
    sources = [sources] if isinstance(sources, str) or not isinstance(sources, Sequence) else list(sources)
    if weights is None:
        listed = [1.0] * len(sources)
    else:
        listed = list(weights) if isinstance(weights, Sequence) and not isinstance(weights, str) else [weights]
    if len(listed) != len(sources):
        raise ImapError(
            f"backbone.{setting}_weights has {len(listed)} numbers for {len(sources)} LoRAs; set one for each"
        )
    for weight in listed:
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not -LARGEST_WEIGHT <= weight <= LARGEST_WEIGHT:  # not so for NaN either
            raise ImapError(
                f"backbone.{setting}_weights: {brief(weight)} is not a number from -{LARGEST_WEIGHT} to "
                f"{LARGEST_WEIGHT}"
            )
    places = [_place(setting, source) for source in sources]
    if len(set(places)) < len(places):
        raise ImapError(f"backbone.{setting} names a LoRA twice; name it once, and set its weight")
    return [Lora(LORAS[setting], *place, float(weight)) for place, weight in zip(places, listed, strict=True)]


def _place(setting: str, value: Any) -> tuple[str, str | None]:
    """A local file and None, or a hub id and its file."""
    text = check_path(f"backbone.{setting}", value)
    path = Path(text)
    if path.is_dir():
        found = sorted(path.glob(f"*{SAFETENSORS}"))
        named = [x for x in found if x.name == LORA_FILE] or found
        if len(named) != 1:
            raise ImapError(f"backbone.{setting}: {text} holds {len(named)} {SAFETENSORS} files; set one of them")
        return str(named[0]), None
    if path.is_file() and path.suffix == SAFETENSORS:
        return text, None
    if path.is_file():
        raise ImapError(f"backbone.{setting}: {text} is no {SAFETENSORS} file; save the LoRA in that format")
    if HUB_ID.fullmatch(text) and (":" in text or path.suffix != SAFETENSORS):
        source, _, file = text.partition(":")
        return source, file or None
    raise ImapError(
        f"backbone.{setting}: there is no file {text}; set a {SAFETENSORS} file, owner/name or "
        f"owner/name:file{SAFETENSORS}"
    )


def _need(package: str, setting: str) -> None:
    """Raise ImapError unless an optional package is installed."""
    if find_spec(package) is None:
        raise ImapError(f"{setting} needs the package {package}; install it: pip install {package}")


def _recorded_file(path: str) -> dict[str, Any]:
    return {"file": Path(path).name, "sha256": sha256_of_weights(Path(path))}
