"""A checkpoint without its weights: what its small files tell before anything large is read."""

from dataclasses import dataclass
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from diffusers.models.attention_dispatch import AttentionBackendName
from transformers import AutoTokenizer

from imap.backbones import family
from imap.backbones.base import Backbone
from imap.config.model import Model
from imap.errors import ImapError
from imap.testing import tiny


@dataclass(frozen=True)
class Checkpoint:
    """Where a checkpoint is, how it is read, and its transformer's configuration and tokenizer."""

    source: str
    adapter: type[Backbone]
    transformer: dict[str, Any]
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
        return self.adapter.size_multiple(self.transformer["patch_size"])


def read_checkpoint(model: Model) -> Checkpoint:
    """Read a checkpoint's small files. Raises ImapError when it is not found or of another family than configured."""
    adapter = family(model.family)
    source = model.source or str(tiny.folder(model.family))
    try:
        pipeline: Any = DiffusionPipeline.load_config(source)
        config = getattr(diffusers, adapter.transformer_class).load_config(source, subfolder="transformer")
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImapError(
            f"cannot load {source}: {reason}; set backbone.path to a folder in diffusers format, or check the network"
        ) from None
    held = pipeline.get("_class_name", "folder of no pipeline")
    if held != adapter.pipeline_class:
        raise ImapError(
            f"{source} holds a {held}, and backbone={model.name} needs a {adapter.pipeline_class}; "
            "choose the backbone of that family"
        )
    if model.attention_backend != "default" and not adapter.takes_attention_backend:
        raise ImapError(
            f"backbone.attention_backend={model.attention_backend}: the stock {adapter.pipeline_class} always "
            "runs torch's own kernels; set backbone.attention_backend=default"
        )
    known = [backend.value for backend in AttentionBackendName]
    if model.attention_backend not in ("default", *known):
        raise ImapError(
            f"backbone.attention_backend={model.attention_backend!r} is not known; it can be default, "
            + ", ".join(known)
        )
    return Checkpoint(source, adapter, dict(config), tokenizer)
