"""Checked settings of a model: which checkpoint to load, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from imap.config.checks import check_boolean, check_path, check_text, positive
from imap.config.weights import NOTHING, OtherWeights, other_weights
from imap.errors import ImapError, brief

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
BALANCED = "balanced"
OFFLOADS = ("auto", "none", "model", "group", "sequential")
MOVING = ("model", "group", "sequential")  # weights wait on the CPU


@dataclass(frozen=True)
class Model:
    """A backbone configuration in which every `auto` has a value, except offload."""

    name: str
    family: str
    source: str | None  # folder or hub id; None: a small pipeline with random weights, made on this machine
    dtype: torch.dtype
    vae_dtype: torch.dtype
    device: torch.device
    offload: str
    vae_tiling: bool
    attention_backend: str
    flow_shift: float | None
    pickle_weights: bool = False  # also load weights that exist as .bin only
    device_map: str | None = None  # balanced: the transformer's blocks are spread over all GPUs
    weights: OtherWeights = NOTHING  # beside the checkpoint's own

    def recorded(self) -> dict[str, Any]:
        """Settings that change a result, in plain values. Devices, offload and format of the weights do not."""
        names = ("name", "family", "source", "attention_backend", "vae_tiling", "flow_shift")
        dtypes = {
            "dtype": str(self.dtype).removeprefix("torch."),
            "vae_dtype": str(self.vae_dtype).removeprefix("torch."),
        }
        return {name: getattr(self, name) for name in names} | dtypes | self.weights.recorded()


def model_settings(config: Mapping[str, Any]) -> Model:
    """Check the `backbone` group of a composed configuration.

    Raises:
        ImapError: for a value that is unknown or does not fit this machine.
    """
    _check_preset(config)
    device = device_of(str(config["device"]))
    if config["offload"] not in OFFLOADS:
        raise ImapError(f"backbone.offload={brief(config['offload'])} is not known; it can be {', '.join(OFFLOADS)}")
    if config["offload"] in MOVING and device.type == "cpu":
        raise ImapError(
            f"backbone.offload={config['offload']} moves weights to a GPU, and the device is the CPU; set none"
        )
    _check_device_map(config, device)
    if not isinstance(config["attention_backend"], str):
        raise ImapError(
            f"backbone.attention_backend={brief(config['attention_backend'])} is not a name; set it to default"
        )
    path = None if config["path"] is None else check_path("backbone.path", config["path"])
    if path is not None and not (Path(path) / "model_index.json").is_file():
        is_small = str(config["name"]).startswith("shapes_")
        hint = f"; train it first: imap shapes train backbone={config['name']}" if is_small else ""
        raise ImapError(f"backbone.path: {path} is not a folder in diffusers format (no model_index.json){hint}")
    shift = config["flow_shift"]
    if shift is not None and (
        isinstance(shift, bool) or not isinstance(shift, int | float) or not 0.01 <= shift <= 100
    ):
        raise ImapError(f"backbone.flow_shift={brief(shift)} is neither null nor a number from 0.01 to 100")
    dtype = _dtype("dtype", config["dtype"], torch.float32 if device.type == "cpu" else torch.bfloat16)
    return Model(
        name=config["name"],
        family=config["family"],
        source=path if path is not None else config["id"],
        dtype=dtype,
        vae_dtype=_dtype("vae_dtype", config["vae_dtype"], dtype),
        device=device,
        offload=config["offload"],
        vae_tiling=check_boolean("backbone.vae_tiling", config["vae_tiling"]),
        attention_backend=config["attention_backend"],
        flow_shift=shift,
        pickle_weights=check_boolean("backbone.pickle_weights", config["pickle_weights"]),
        device_map=config["device_map"],
        weights=other_weights(config, device),
    )


def _check_device_map(config: Mapping[str, Any], device: torch.device) -> None:
    """Raise ImapError for a device map that is unknown or does not fit the offload or this machine."""
    value = config["device_map"]
    if value is None:
        return
    if value != BALANCED:
        raise ImapError(f"backbone.device_map={brief(value)} is not known; it can be {BALANCED} or null")
    if config["offload"] not in ("auto", "none"):
        raise ImapError(
            f"backbone.device_map={value} keeps all weights on GPUs, and backbone.offload={config['offload']} on the "
            "CPU; set one of the two to null or none"
        )
    if device.type != "cuda" or device.index is not None or torch.cuda.device_count() < 2:
        raise ImapError(
            f"backbone.device_map={value} needs two GPUs, and this process sees {torch.cuda.device_count()} with "
            f"backbone.device={config['device']}; set backbone.device_map=null"
        )


def _check_preset(config: Mapping[str, Any]) -> None:
    """Raise ImapError for parts of a preset that a command line has changed to something else."""
    check_text("backbone.name", config["name"])
    words, demo, paper = config.get("words"), config.get("demo"), config["paper"]
    listed = isinstance(words, Sequence) and not isinstance(words, str)
    if words is not None and not (listed and all(isinstance(word, str) for word in words)):
        raise ImapError(f"backbone.words={brief(words)} is not a list of words")
    if not isinstance(demo or {}, Mapping) or not isinstance((demo or {}).get("input_json") or "", str):
        raise ImapError(f"backbone.demo={brief(demo)} is not a built-in example; set prompt and words, or input_json")
    for name in ("renoise_timestep", "num_inference_steps"):
        steps = paper[name] if isinstance(paper[name], Sequence) else [paper[name]]
        if not all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in steps):
            raise ImapError(f"backbone.paper.{name}={brief(paper[name])} holds no steps; set {name} instead")
    positive("backbone.paper.num_inference_steps", paper["num_inference_steps"])


def device_of(name: str, setting: str = "backbone.device") -> torch.device:
    """The device of a setting; `auto` is a GPU if there is one. Raises ImapError for a missing device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ImapError(f"{setting}={brief(name)} is not known; it can be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ImapError(f"{setting}={name}, but torch {torch.__version__} finds no CUDA GPU here; set {setting}=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ImapError(f"{setting}={name}, but there are {torch.cuda.device_count()} GPUs; numbers start at 0")
    return device


def _dtype(name: str, value: str, automatic: torch.dtype) -> torch.dtype:
    if value == "auto":
        return automatic
    if str(value) not in DTYPES:
        raise ImapError(f"backbone.{name}={brief(value)} is not known; it can be auto, {', '.join(DTYPES)}")
    return DTYPES[value]
