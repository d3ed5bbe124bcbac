"""Load the pipeline of a checkpoint onto its device."""

import logging

import diffusers
import torch
from diffusers import DiffusionPipeline
from packaging.version import parse

from imap.config.model import Model
from imap.errors import ImapError, brief, first_line

log = logging.getLogger("imap")
# diffusers renamed it between 0.35 and 0.42, and removes the old name in 1.0
DTYPE_ARGUMENT = "dtype" if parse(diffusers.__version__) >= parse("0.42") else "torch_dtype"


def load(model: Model, source: str) -> DiffusionPipeline:
    """Load an unmodified pipeline with the settings of `model`, and place it on its device.

    Args:
        model: checked settings.
        source: folder in diffusers format, or hub id.

    Raises:
        ImapError: if the weights cannot be loaded.
    """
    # True: nothing but safetensors; None: also pickled weights, where there are no others
    how = {"use_safetensors": None if model.pickle_weights else True, "trust_remote_code": False}
    dtypes = {"default": model.dtype, "vae": model.vae_dtype}
    try:
        pipe = DiffusionPipeline.from_pretrained(source, **how, **{DTYPE_ARGUMENT: dtypes})
    except Exception as error:  # each reader of weights raises its own errors
        hint = "download or copy them again"
        if not model.pickle_weights:
            hint += ", or set backbone.pickle_weights=true if they exist as .bin only"
        raise ImapError(f"cannot load the weights of {source}: {first_line(error)}; {hint}") from None
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


def _set_attention_backend(pipe: DiffusionPipeline, backend: str) -> None:
    try:
        pipe.transformer.set_attention_backend(backend)
    except (AttributeError, ValueError, RuntimeError, ImportError) as error:
        reason = first_line(error)
        raise ImapError(
            f"backbone.attention_backend={brief(backend)} does not work here: {reason}; "
            "set backbone.attention_backend=default"
        ) from None


def _choose_offload(pipe: DiffusionPipeline, device: torch.device) -> str:
    """`none` if the weights leave a third of the free GPU memory for activations, else `model`."""
    if device.type != "cuda":
        return "none"
    modules = (x for x in pipe.components.values() if isinstance(x, torch.nn.Module))
    weights = sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
    free, _ = torch.cuda.mem_get_info(device)
    choice = "none" if weights < free * 2 / 3 else "model"
    log.info("offload=auto: %.1f GB of weights, %.1f GB free: %s", weights / 1e9, free / 1e9, choice)
    return choice
