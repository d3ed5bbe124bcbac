"""Start of training from a pipeline folder: its weights replace the random ones."""

from pathlib import Path
from typing import Any

from diffusers.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from imap.backbones.weights_hash import weights_hash
from imap.errors import ImapError


def start_from(pipe: Any, vae: str | None, transformer: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Load weights of pipeline folders into a pipeline.

    Args:
        pipe: The pipeline.
        vae: Folder of the VAE, or None.
        transformer: Folder of the transformer and its text encoders, or None.

    Returns:
        Facts that a checkpoint of the VAE must match, and facts that one of the transformer must match.

    Raises:
        ImapError: A folder does not have these weights, or has other words.
    """
    vae_facts, transformer_facts = {}, {}
    if vae is not None:
        load_weights(pipe.vae, Path(vae), "vae")
        vae_facts = {"start": weights_hash({"vae": pipe.vae})}
    if transformer is not None:
        load_weights(pipe.transformer, Path(transformer), "transformer")
        load_text_encoders(pipe, Path(transformer))
        parts = {name: x for name, x in pipe.components.items() if isinstance(x, nn.Module) and name != "vae"}
        transformer_facts = {"transformer": weights_hash(parts)}
    return vae_facts, transformer_facts


def load_weights(module: nn.Module, folder: Path, part: str) -> None:
    """Load the weights of a part ("vae", "transformer") of a pipeline folder into a module.

    Raises:
        ImapError: The folder has no part of this class and shape.
    """
    try:
        weights = load_file(folder / part / WEIGHTS_NAME)
        module.load_state_dict({name: x.float() for name, x in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _mismatch(folder, module, part, error) from None


def load_text_encoders(pipe: Any, folder: Path) -> None:
    """Replace the pipeline's text encoders by those of a pipeline folder.

    Word embeddings depend on the encoder's seed, so a trained transformer needs its text encoders.

    Raises:
        ImapError: The folder has no such text encoders, or their vocabulary differs.
    """
    for name, part in pipe.components.items():
        if not isinstance(part, PreTrainedModel | PreTrainedTokenizerBase):
            continue
        kind: Any = type(part)
        try:
            how = {"use_safetensors": True} if isinstance(part, PreTrainedModel) else {}
            loaded: Any = kind.from_pretrained(folder / name, local_files_only=True, **how)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            raise _mismatch(folder, part, name, error) from None
        if isinstance(part, PreTrainedModel):
            pipe.register_modules(**{name: loaded.float().eval().requires_grad_(False)})
        elif loaded.get_vocab() != part.get_vocab():
            others = ", ".join(sorted(set(loaded.get_vocab()) ^ set(part.get_vocab()))[:5])
            raise ImapError(
                f"{folder} was trained on other words than this world has ({others}); name a folder of this world"
            )


def _mismatch(folder: Path, expected: Any, part: str, error: Exception) -> ImapError:
    if not folder.is_dir():
        return ImapError(f"{folder} is not a pipeline folder: it does not exist")
    # torch lists every missing weight on a separate line
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = " ".join(lines[:2])[:200]
    return ImapError(
        f"{folder} has no {part} of class {type(expected).__name__} and of this shape: {reason}; "
        "name a pipeline folder of the same family"
    )
