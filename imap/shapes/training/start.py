"""A pipeline folder to go on from: its weights in the place of random ones."""

from pathlib import Path
from typing import Any

from diffusers.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from imap.errors import ImapError
from imap.shapes.weights_hash import weights_hash


def go_on_from(pipe: Any, vae: str | None, transformer: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Give a pipeline the VAE, and the transformer with its text encoders, of pipeline folders, where they are named.

    Returns what checkpoints of the VAE and of the transformer must have gone on from; ImapError as below.
    """
    of_vae, of_transformer = {}, {}
    if vae is not None:
        take_weights(pipe.vae, Path(vae), "vae")
        of_vae = {"start": weights_hash({"vae": pipe.vae})}
    if transformer is not None:
        take_weights(pipe.transformer, Path(transformer), "transformer")
        take_text_encoders(pipe, Path(transformer))
        parts = {name: x for name, x in pipe.components.items() if isinstance(x, nn.Module) and name != "vae"}
        of_transformer = {"transformer": weights_hash(parts)}
    return of_vae, of_transformer


def take_weights(module: nn.Module, folder: Path, part: str) -> None:
    """Give a module the weights of a part ("vae", "transformer") of a pipeline folder.

    Raises ImapError where there is no such part of its class and shape.
    """
    try:
        weights = load_file(folder / part / WEIGHTS_NAME)
        module.load_state_dict({name: x.float() for name, x in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _other(folder, module, part, error) from None


def take_text_encoders(pipe: Any, folder: Path) -> None:
    """Put those of a pipeline folder in the place of the pipeline's own: what a transformer knows a word by is drawn
    from their seed.

    Raises ImapError where there are none, or where they know other words.
    """
    for name, part in pipe.components.items():
        if not isinstance(part, PreTrainedModel | PreTrainedTokenizerBase):
            continue
        try:
            found = type(part).from_pretrained(folder / name, local_files_only=True)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            raise _other(folder, part, name, error) from None
        if isinstance(found, PreTrainedModel):
            pipe.register_modules(**{name: found.float().eval().requires_grad_(False)})
        elif found.get_vocab() != part.get_vocab():
            others = ", ".join(sorted(set(found.get_vocab()) ^ set(part.get_vocab()))[:5])
            raise ImapError(f"{folder} was trained on other words than this world has ({others})")


def _other(folder: Path, expected: Any, part: str, error: Exception) -> ImapError:
    if not folder.is_dir():
        return ImapError(f"{folder} is not a pipeline folder: there is no such folder")
    # torch tells every weight that is missing, in lines of their own
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = " ".join(lines[:2])[:200]
    return ImapError(
        f"{folder} is not a pipeline folder whose {part} is of class {type(expected).__name__} and of this shape: {why}"
    )
