"""A transformer from one file, in place of the checkpoint's own: safetensors or GGUF."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME

from imap.backbones.base import Backbone
from imap.config.model import Model
from imap.config.weights import GGUF
from imap.errors import ImapError, brief, first_line
from imap.runs.weights import header_of

SCALES = (".scale_weight", ".scale_input", ".weight_scale", ".input_scale", "scaled_fp8")  # of weights in 8 bits


def check_transformer_files(model: Model, adapter: type[Backbone], config: Mapping[str, Any]) -> None:
    """Check files of transformers from their headers: no weights are loaded.

    Args:
        model: checked settings.
        adapter: of the model's family.
        config: of the checkpoint's transformer.

    Raises:
        ImapError: for a file that this family does not take, or that is damaged.
    """
    for name, file in model.weights.files.items():
        if name not in adapter.transformers:
            raise ImapError(f"backbone.{name}={file}: backbone={model.name} has one transformer; leave it null")
        kind = getattr(diffusers, adapter.transformer_class)
        if file.endswith(GGUF):
            with Path(file).open("rb") as opened:
                if opened.read(4) != b"GGUF":
                    raise ImapError(f"backbone.{name}: {file} is not a GGUF file; copy or download it again")
            if not _converts(kind):
                raise ImapError(f"backbone.{name}: diffusers reads no GGUF file of a {kind.__name__}; use safetensors")
            continue
        try:
            keys = header_of(Path(file)).keys() - {"__metadata__"}
        except (OSError, ValueError) as error:
            raise ImapError(
                f"backbone.{name}: cannot read {file}: {first_line(error)}; copy or download it again"
            ) from None
        scaled = next((key for key in sorted(keys) if key.endswith(SCALES)), None)
        if scaled:
            raise ImapError(
                f"backbone.{name}: {file} has weights in 8 bits with scales ({brief(scaled)}), which diffusers would "
                "ignore; use a file in 16 bits or a GGUF file"
            )
        if not _converts(kind):
            _check_keys(f"backbone.{name}: {file}", keys, kind, config)


def _check_keys(what: str, keys: set[str], kind: Any, config: Mapping[str, Any]) -> None:
    """Raise ImapError unless a file has just the tensors of a transformer, under diffusers' names."""
    with torch.device("meta"):
        own = kind.from_config(dict(config)).state_dict().keys()
    if keys != own:
        missing, strange = sorted(own - keys), sorted(keys - own)
        raise ImapError(
            f"{what} does not fit the {kind.__name__} of this checkpoint: {len(missing)} tensors are missing and "
            f"{len(strange)} are not known (such as {brief((missing + strange)[0])}); diffusers' own names are needed"
        )


def load_transformer(model: Model, adapter: type[Backbone], source: str, name: str, how: Mapping[str, Any]) -> Any:
    """A transformer with the checkpoint's configuration and the weights of a file.

    Args:
        model: checked settings, with a file for `name`.
        adapter: of the model's family.
        source: the checkpoint.
        name: of the component.
        how: further arguments of diffusers, such as the dtype.

    Raises:
        ImapError: if the file does not fit.
    """
    file, kind = model.weights.files[name], getattr(diffusers, adapter.transformer_class)
    if file.endswith(GGUF):
        how = {**how, "quantization_config": diffusers.GGUFQuantizationConfig(compute_dtype=model.dtype)}
    try:
        if _converts(kind):
            found = kind.from_single_file(file, config=source, subfolder=name, **how)
        else:
            found = _from_own_format(kind, file, source, name, how)
        left = next((key for key, x in found.state_dict().items() if x.is_meta), None)
        if left is not None:
            raise ValueError(f"it has no {left}")
    except Exception as error:  # each conversion fails in its own way
        raise ImapError(
            f"backbone.{name}: {file} does not fit the {kind.__name__} of {source}: {first_line(error)}; use a file of "
            "this model and size"
        ) from None
    return found


def _converts(kind: Any) -> bool:
    """Whether diffusers loads single files of a transformer class."""
    return any(one.__name__ in SINGLE_FILE_LOADABLE_CLASSES for one in kind.__mro__)


def _from_own_format(kind: Any, file: str, source: str, name: str, how: Mapping[str, Any]) -> Any:
    """A file with diffusers' own names, loaded as from a folder with the checkpoint's configuration."""
    config = kind.load_config(source, subfolder=name)
    with tempfile.TemporaryDirectory(prefix="imap-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(dict(config), default=str), encoding="utf-8")
        (Path(folder) / SAFETENSORS_WEIGHTS_NAME).symlink_to(Path(file).resolve())
        return kind.from_pretrained(folder, use_safetensors=True, **how)
