"""Memory of a checkpoint's weights, from the headers of its files."""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download

from imap.config.model import Model

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
            if isinstance(kind, list | tuple) and kind[0] is not None and not name.startswith(WITHOUT):
                size = (model.vae_dtype if name == "vae" else model.dtype).itemsize
                parts[name] = sum(_bytes(file, size) for file in _files(folder / name))
    except (OSError, ValueError, KeyError, TypeError):  # a file that is missing or damaged; loading names it
        return None
    return parts


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


def _bytes(file: Path, size: int) -> int:
    """Bytes of a file's tensors. size: of a floating-point number, once it is loaded."""
    return sum(count * (size if is_float else stored) for count, is_float, stored in _tensors(file))


def _tensors(file: Path) -> Iterator[tuple[int, bool, int]]:
    """Elements of each tensor of a file, whether they are floating-point numbers, and their bytes in the file."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    for name, one in header.items():
        if name != "__metadata__":
            count, (start, stop) = prod(one["shape"]), one["data_offsets"]
            yield count, one["dtype"].startswith(("F", "BF")), (stop - start) // max(count, 1)
