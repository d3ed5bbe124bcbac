"""Texts that a text encoder has read, and which of them a transformer call got."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone


@dataclass(frozen=True)
class Encoding:
    """One text as its encoder read it.

    Attributes:
        ids: token ids, with the template and the padding.
        tokens: (len(ids), width), what the encoder made of them, by reference if the pipeline keeps all.
    """

    ids: Sequence[int]
    tokens: Tensor


def encodings_into(found: list[Encoding], backbone: Backbone) -> Callable[[nn.Module, tuple, dict, Any], None]:
    """A forward hook of the backbone's text encoder that appends every text to a list."""

    def hook(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is not None:
            texts = zip(ids.tolist(), backbone.encoder_tokens(output), strict=True)
            found.extend(Encoding(*backbone.kept(*text)) for text in texts)

    return hook


def connected_into(found: list[Encoding], backbone: Backbone) -> Callable[[nn.Module, tuple, Any], None]:
    """A forward hook of the backbone's connector: appends what became of the texts in a list, padding last."""
    padding = backbone.tokenizer.pad_token_id

    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        for given, made in zip(backbone.unconnected_tokens(args[0]), output[0], strict=True):
            for encoding in list(found):
                if torch.equal(encoding.tokens.to(given), given):
                    count = next((i for i, x in enumerate(encoding.ids) if x != padding), 0)
                    found.append(Encoding([*encoding.ids[count:], *encoding.ids[:count]], made))

    return hook


def ids_of(text: Tensor, found: Iterable[Encoding], padding: int | None) -> list[int] | None:
    """Token ids of a transformer call's token embeddings (slots, width), the padding left out.

    Returns None if no text was encoded to these embeddings.
    """
    for encoding in found:
        ids = list(encoding.ids)
        while ids and ids[-1] == padding:
            ids.pop()
        tokens = encoding.tokens.to(text)
        text = text[:, -tokens.shape[1] :]  # a pipeline may join states of other layers in front
        starts = (tokens[: len(ids)] == text[0]).all(dim=-1).nonzero().flatten().tolist()
        for start in starts:  # a pipeline crops its template
            count = min(len(ids) - start, len(text))
            if torch.equal(tokens[start : start + count], text[:count]):
                return ids[start : start + count]
    return None
