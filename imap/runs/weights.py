"""Memory of a checkpoint's weights, from the headers of its files, and what is free."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download

from imap.config.model import Model
from imap.config.presets import presets
from imap.config.weights import GGUF, TRANSFORMERS

WITHOUT = ("scheduler", "tokenizer", "feature_extractor", "image_processor")  # starts of names of parts without
NAMES = ("diffusion_pytorch_model", "model")  # of weight files, as from_pretrained looks for them


def weights_of(model: Model, source: str) -> dict[str, int] | None:
    """Bytes that each part of a pipeline takes when it is loaded with the dtypes of `model`.

    None if they are not known: for a hub id that is not downloaded, and for weights that are no safetensors.

    Args:
        model: checked settings.
        source: folder in diffusers format, or hub id.
    """
    try:
        folder = Path(source) if Path(source).is_dir() else Path(snapshot_download(source, local_files_only=True))
        parts = {}
        config: Any = DiffusionPipeline.load_config(str(folder))
        for name, kind in config.items():
            if name in model.weights.files:
                parts[name] = _file_bytes(Path(model.weights.files[name]), model, name)
            elif isinstance(kind, list | tuple) and kind[0] is not None and not name.startswith(WITHOUT):
                parts[name] = sum(_bytes(file, model, name) for file in _files(folder / name))
    except (OSError, ValueError, KeyError, TypeError):  # a file that is missing or damaged; loading names it
        return None
    return parts


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU, or of this machine for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def memory_line(model: Model, source: str) -> str:
    """What a model's weights take and what is free, in one line for the log.

    Args:
        model: checked settings.
        source: folder in diffusers format, or hub id.
    """
    parts, free = weights_of(model, source), f"{free_bytes(model.device) / 1e9:.1f} GB are free on {model.device}"
    if parts is not None:
        each = ", ".join(f"{name} {size / 1e9:.2g} GB" for name, size in parts.items())
        return f"weights: {sum(parts.values()) / 1e9:.2g} GB ({each}); {free}"
    preset = presets().get(model.name)
    if preset is not None and preset.weights_gb is not None:
        return f"weights: {preset.weights_gb} GB in bfloat16 as published; {free}"
    return f"weights: not known before they are loaded; {free}"


def _files(part: Path) -> list[Path]:
    """Weight files of a part. Raises FileNotFoundError for none."""
    for name in NAMES:
        index, whole = part / f"{name}.safetensors.index.json", part / f"{name}.safetensors"
        if index.is_file():
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [part / shard for shard in dict.fromkeys(shards)]
        if whole.is_file():
            return [whole]
    raise FileNotFoundError(part)


def _file_bytes(file: Path, model: Model, name: str) -> int:
    """Bytes of a transformer file; GGUF stays as it is stored."""
    return file.stat().st_size if file.suffix == GGUF else _bytes(file, model, name)


def _bytes(file: Path, model: Model, name: str) -> int:
    """Bytes of a file's tensors, once they are loaded. name: of the part."""
    size = (model.vae_dtype if name == "vae" else model.dtype).itemsize
    other, matrices = model.weights, float(size)
    if other.quantization and (name in TRANSFORMERS or (name == "text_encoder" and other.quantizes_text)):
        matrices = 0.5 if other.quantization.endswith("4bit") else 1.0
    return round(
        sum(
            count * ((matrices if dimensions == 2 else size) if is_float else stored)
            for count, dimensions, is_float, stored in _tensors(file)
        )
    )


def header_of(file: Path) -> dict[str, Any]:
    """Header of a safetensors file: shape, dtype and place of each tensor.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no safetensors file, or is cut off.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size - 8:
            raise ValueError("it is no safetensors file, or is cut off")
        header = json.loads(opened.read(length))
    try:
        stop = max((one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"), default=0)
    except (AttributeError, KeyError, TypeError, IndexError):
        raise ValueError("it is no safetensors file") from None
    if stop > file.stat().st_size - 8 - length:
        raise ValueError("it is cut off")
    return header


def _tensors(file: Path) -> Iterator[tuple[int, int, bool, int]]:
    """Elements and axes of each tensor of a file, whether it is of floating-point numbers, and bytes of an element."""
    for name, one in header_of(file).items():
        if name != "__metadata__":
            count, (start, stop) = prod(one["shape"]), one["data_offsets"]
            is_float = one["dtype"].startswith(("F", "BF"))
            yield count, len(one["shape"]), is_float, (stop - start) // max(count, 1)
