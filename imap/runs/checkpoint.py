"""A checkpoint without its weights: its small files are read first, before anything large."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend
from packaging.version import parse
from transformers import AutoTokenizer

from imap.backbones import FAMILIES, family, fitting
from imap.backbones.base import Backbone
from imap.config.model import Model
from imap.config.presets import presets
from imap.errors import ImapError, brief, first_line
from imap.runs.loras import check_loras
from imap.runs.quantization import quantization_configs
from imap.runs.transformer_files import check_transformer_files
from imap.testing import tiny


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's small files.

    Attributes:
        source: folder or hub id.
        adapter: of the model's family.
        transformer: configuration of the transformer.
        tokenizer: that of the first text encoder.
    """

    source: str
    adapter: type[Backbone]
    transformer: dict[str, Any]
    tokenizer: Any

    @property
    def num_layers(self) -> int:
        return self.adapter.layers_and_heads(self.transformer)[0]

    @property
    def num_heads(self) -> int:
        return self.adapter.layers_and_heads(self.transformer)[1]

    @property
    def text_slots(self) -> int:
        return self.adapter.text_slots(self.transformer)

    @property
    def size_multiple(self) -> tuple[int, int]:
        """Numbers that height and width in pixels must be multiples of."""
        return self.adapter.size_multiple(self.transformer["patch_size"])

    def cells(self, frames: int, height: int, width: int) -> int:
        """Cells of one map of a video of this size, in all frames together."""
        high, wide = self.size_multiple
        latents = self.adapter.latent_frames(frames)
        return -(-latents // self.adapter.temporal_patch(self.transformer)) * (height // high) * (width // wide)


def read_checkpoint(model: Model) -> Checkpoint:
    """Read the small files of a checkpoint.

    Raises:
        ImapError: if it is not found, or is of another family than configured.
    """
    adapter = family(model.family)
    is_old = parse(diffusers.__version__) < parse(adapter.first_diffusers)
    if is_old or adapter.transformer_class not in dir(diffusers):
        raise ImapError(
            f"backbone={model.name} needs a {adapter.pipeline_class} of a newer diffusers than "
            f"{diffusers.__version__}; install one"
        )
    if adapter.in_sections:
        raise ImapError(
            f"backbone={model.name} may make a video in sections, and a sample holds one set of maps; in Python, "
            "trace.sections() has the maps of each"
        )
    source = model.source or str(tiny.folder(model.family))
    try:
        pipeline: Any = DiffusionPipeline.load_config(source)
        config = getattr(diffusers, adapter.transformer_class).load_config(source, subfolder="transformer")
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder="tokenizer", trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ImapError(
            f"cannot load {source}: {reason}; set backbone.path to a folder in diffusers format, or check the network"
        ) from None
    class_name = pipeline.get("_class_name", "folder without a pipeline")
    if class_name not in (adapter.pipeline_class, *adapter.also_loads):
        raise ImapError(
            f"{source} is of class {class_name}, but backbone={model.name} needs {adapter.pipeline_class}; "
            f"{_instead([x.family for x in FAMILIES if x.pipeline_class == class_name])}"
        )
    if not adapter.fits(config, pipeline):
        other = fitting([adapter.transformer_class], config, pipeline, class_name)
        raise ImapError(
            f"{source} is a model of {f'the family {other.family}' if other else 'no known family'}, but "
            f"backbone={model.name} is of {adapter.family}; {_instead([other.family] if other else [])}"
        )
    if model.attention_backend != "default":
        check_attention_backend(model.attention_backend, adapter)
    if not model.pickle_weights:
        check_weight_files(Path(source), list(model.weights.files))
    check_transformer_files(model, adapter, config)
    check_loras(model, adapter)
    quantization_configs(model, adapter)
    return Checkpoint(source, adapter, dict(config), tokenizer)


def _instead(families: Sequence[str]) -> str:
    """Advice for a checkpoint of one of some families."""
    names = [name for name, preset in presets().items() if preset.family in families]
    return f"choose a backbone of its family: {', '.join(names)}" if names else "imap backbones check says more of it"


def check_weight_files(folder: Path, replaced: Sequence[str] = ()) -> None:
    """Raise ImapError for a local checkpoint with a part whose weights are pickled only. Nothing for a hub id.

    replaced: parts that are not loaded from it.
    """
    for part in sorted({path.parent for path in folder.glob("*/*.bin")}):
        if part.name not in replaced and not any(part.glob("*.safetensors")):
            raise ImapError(
                f"{part} has its weights as .bin only, a format that can hold code; "
                "set backbone.pickle_weights=true to load them, or save them as safetensors"
            )


def check_attention_backend(name: str, adapter: type[Backbone]) -> None:
    """Raise ImapError for an attention kernel that is unknown, or that this model or this machine does not run."""
    if not adapter.takes_attention_backend:
        raise ImapError(
            f"backbone.attention_backend={name}: {adapter.pipeline_class} always runs torch's own kernels; "
            "set backbone.attention_backend=default"
        )
    backends = {backend.value: backend for backend in AttentionBackendName}
    if name not in backends:
        raise ImapError(
            f"backbone.attention_backend={brief(name)} is not known; it can be default, {', '.join(backends)}"
        )
    try:
        with attention_backend(backends[name]):
            pass  # diffusers looks for the kernel's package when the block begins
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        raise ImapError(
            f"backbone.attention_backend={name} does not work here: {first_line(error).rstrip('.')}; or set "
            "backbone.attention_backend=default"
        ) from None
