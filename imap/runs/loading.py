"""Load the pipeline of a checkpoint onto its device."""

import logging
from collections import Counter
from typing import Any

import diffusers
import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from diffusers import DiffusionPipeline
from diffusers.hooks import apply_group_offloading
from diffusers.quantizers import PipelineQuantizationConfig
from packaging.version import parse

from imap.backbones import backbone_of, family
from imap.config.model import Model
from imap.errors import ImapError, brief, first_line
from imap.runs.loras import add_loras
from imap.runs.quantization import check_quantized, quantization_configs
from imap.runs.transformer_files import load_transformer
from imap.runs.weights import memory_line
from imap.tracing.compatibility import STREAMS_ARE_SAFE

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
    log.info("%s", memory_line(model, source))
    # True: nothing but safetensors; None: also pickled weights, where there are no others
    how = {"use_safetensors": None if model.pickle_weights else True, "trust_remote_code": False}
    dtypes = {"default": model.dtype, "vae": model.vae_dtype}
    parts = _other_parts(model, source)
    try:
        pipeline = getattr(diffusers, family(model.family).pipeline_class)
        pipe = pipeline.from_pretrained(source, **how, **{DTYPE_ARGUMENT: dtypes}, **parts)
    except Exception as error:  # each reader of weights raises its own errors
        hint = "download or copy them again"
        if not model.pickle_weights:
            hint += ", or set backbone.pickle_weights=true if they exist as .bin only"
        raise ImapError(f"cannot load the weights of {source}: {first_line(error)}; {hint}") from None
    if model.flow_shift is not None:
        pipe.scheduler = with_flow_shift(pipe.scheduler, model.flow_shift)
    if model.attention_backend != "default":
        _set_attention_backend(pipe, model.attention_backend)
    if model.vae_tiling:
        pipe.vae.enable_tiling()
    check_quantized(pipe, model)
    add_loras(pipe, model)
    if model.device_map is not None:
        spread(pipe)
        return pipe
    offload = model.offload if model.offload != "auto" else _choose_offload(pipe, model.device)
    place(pipe, offload, model.device)
    return pipe


def _other_parts(model: Model, source: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` for parts that are not loaded as they are in the checkpoint."""
    adapter = family(model.family)
    configs, how = quantization_configs(model, adapter), {DTYPE_ARGUMENT: model.dtype}
    parts: dict[str, Any] = {x: load_transformer(model, adapter, source, x, how) for x in model.weights.files}
    return parts | ({"quantization_config": PipelineQuantizationConfig(quant_mapping=configs)} if configs else {})


def with_flow_shift(scheduler: Any, value: float) -> Any:
    """A scheduler of the same class with another flow shift. Raises ImapError for one that has none."""
    name = next((x for x in ("flow_shift", "shift") if x in scheduler.config), None)
    if name is None or (name == "shift" and scheduler.config.get("use_dynamic_shifting")):
        why = "computes its shift from the video's size" if name else "has no flow shift"
        raise ImapError(
            f"backbone.flow_shift={value}: the checkpoint's {type(scheduler).__name__} {why}; set "
            "backbone.flow_shift=null"
        )
    return type(scheduler).from_config(scheduler.config, **{name: value})


def spread(pipe: Any) -> None:
    """Put the transformer's blocks on all GPUs, about as much on each, and everything else on the first.

    Raises:
        ImapError: if the transformer does not fit, or if there are two.
    """
    if len(backbone_of(pipe).parts) > 1:
        raise ImapError(
            "backbone.device_map=balanced spreads one transformer, and this pipeline has two; set "
            "backbone.device_map=null and backbone.offload=model"
        )
    transformer, first = pipe.transformer, torch.device("cuda", 0)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module) and part is not transformer:
            part.to(first)  # so that the transformer's share of this GPU is of what is left
    whole = transformer._no_split_modules
    memory = get_balanced_memory(transformer, no_split_module_classes=whole)
    places = infer_auto_device_map(transformer, memory, no_split_module_classes=whole)
    if {"cpu", "disk"} & {str(x) for x in places.values()}:
        raise ImapError(
            f"the transformer does not fit {torch.cuda.device_count()} GPUs; set backbone.device_map=null and "
            "backbone.offload=sequential, or use more GPUs"
        )
    dispatch_model(transformer, places, main_device=first)
    shares = sorted(Counter(map(str, places.values())).items())
    log.info("device_map=balanced: %s", ", ".join(f"{count} parts on GPU {gpu}" for gpu, count in shares))


def place(pipe: Any, offload: str, device: torch.device) -> None:
    """Put a pipeline on its device, with an offload that is not auto. An earlier offload is taken off."""
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    elif offload == "group":
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                apply_group_offloading(part, device, offload_type="leaf_level", use_stream=STREAMS_ARE_SAFE)
    else:
        pipe.to(device)


def _set_attention_backend(pipe: DiffusionPipeline, backend: str) -> None:
    try:
        for part in backbone_of(pipe).parts:
            part.transformer.set_attention_backend(backend)
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
