"""Checkpoints: what their small files tell before any weight is read, and the stock pipeline itself."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import deprecation_utils
from transformers import AutoTokenizer

from imap.backbones import family
from imap.backbones.base import Backbone
from imap.errors import ImapError
from imap.settings.model import Model

log = logging.getLogger("imap")
# newer diffusers renamed the argument, and warns of the old name
DTYPE_ARGUMENT = "dtype" if hasattr(deprecation_utils, "_TORCH_DTYPE_DEPRECATION_MESSAGE") else "torch_dtype"
SPATIAL_FACTOR, TEMPORAL_FACTOR = 8, 4  # pixels per latent cell of all three families' VAEs


@dataclass(frozen=True)
class Outline:
    """A checkpoint without its weights."""

    source: str
    adapter: type[Backbone]
    transformer: dict[str, Any]  # configuration
    tokenizer: Any

    @property
    def num_layers(self) -> int:
        return self.transformer["num_layers"]

    @property
    def num_heads(self) -> int:
        return self.transformer["num_attention_heads"]

    @property
    def size_multiple(self) -> tuple[int, int]:
        """What height and width in pixels must be multiples of."""
        patch = self.transformer["patch_size"]
        high, wide = patch[-2:] if isinstance(patch, list | tuple) else (patch, patch)
        return (SPATIAL_FACTOR * high, SPATIAL_FACTOR * wide)


def outline(model: Model) -> Outline:
    """Read the configuration and the tokenizer of a checkpoint. Raises ImapError when it is of another family."""
    adapter = family(model.family)
    source = model.source or str(_tiny_folder(model.family))
    try:
        pipeline = DiffusionPipeline.load_config(source)
        config = getattr(diffusers, adapter.transformer_class).load_config(source, subfolder="transformer")
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImapError(
            f"cannot load {source}: {reason}; set backbone.path to a folder in diffusers format, or check the network"
        ) from None
    if pipeline["_class_name"] != adapter.pipeline_class:
        raise ImapError(
            f"{source} holds a {pipeline['_class_name']}, and backbone={model.name} needs a {adapter.pipeline_class}; "
            "choose the backbone of that family"
        )
    if model.attention_backend != "default" and not adapter.takes_attention_backend:
        raise ImapError(
            f"backbone.attention_backend={model.attention_backend}: the stock {adapter.pipeline_class} always "
            "runs torch's own kernels; set backbone.attention_backend=default"
        )
    return Outline(source, adapter, dict(config), tokenizer)


def load(model: Model, source: str) -> DiffusionPipeline:
    """The stock pipeline of a folder or hub id, on its device, with the settings of `model`."""
    dtypes = {"default": model.dtype, "vae": model.vae_dtype}
    pipe = DiffusionPipeline.from_pretrained(source, **{DTYPE_ARGUMENT: dtypes})
    if model.flow_shift is not None:
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, flow_shift=model.flow_shift)
    if model.attention_backend != "default":
        _set_attention_backend(pipe, model.attention_backend)
    if model.vae_tiling:
        pipe.vae.enable_tiling()
    offload = model.offload if model.offload != "auto" else _choose_offload(pipe, model.device)
    if offload == "model":
        pipe.enable_model_cpu_offload(device=model.device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=model.device)
    else:
        pipe.to(model.device)
    return pipe


def _tiny_folder(name: str) -> Path:
    from imap import tiny

    return tiny.folder(name)


def _set_attention_backend(pipe: DiffusionPipeline, backend: str) -> None:
    try:
        pipe.transformer.set_attention_backend(backend)
    except (AttributeError, ValueError, RuntimeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImapError(
            f"backbone.attention_backend={backend!r} does not work here: {reason}; "
            "set backbone.attention_backend=default"
        ) from None


def _choose_offload(pipe: DiffusionPipeline, device: torch.device) -> str:
    """`none` when the weights leave a third of the GPU's free memory to the activations, else `model`."""
    if device.type != "cuda":
        return "none"
    modules = (x for x in pipe.components.values() if isinstance(x, torch.nn.Module))
    weights = sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
    free, _ = torch.cuda.mem_get_info(device)
    choice = "none" if weights < free * 2 / 3 else "model"
    log.info("offload=auto: %.1f GB of weights, %.1f GB free: %s", weights / 1e9, free / 1e9, choice)
    return choice
