"""Texts of a list of samples, encoded once where the same words come again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone

KEPT = 8  # of the latest: a prompt of the largest model takes 4 MB


@dataclass(frozen=True)
class Encoded:
    """What a text encoder has made, and the token ids that it was given for it."""

    tensors: Any
    ids: list[list[int]]


@dataclass
class PromptCache:
    """The latest text encodings of one pipeline, by the words and by how a concept's token is picked.

    It belongs to a run and goes with it; nothing stays on the pipeline. Words are kept as they were encoded, concepts
    of one sample together, so every number is the same as if they were encoded anew.
    """

    backbone: Backbone
    _kept: dict[tuple, Encoded] = field(default_factory=dict, repr=False)

    def concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        """As `Backbone.encode_concepts`."""
        key = ("concepts", tuple(texts), concept_token)
        return self._once(key, lambda: self.backbone.encode_concepts(texts, concept_token)).tensors

    def prompt(self, prompt: str, negative_prompt: str | None) -> Encoded:
        """As `Backbone.encode_prompt`, each of the two texts on its own, with the prompt's token ids."""
        positive = self._text(prompt)
        if negative_prompt is None or not self.backbone.takes_negative_prompt:
            return positive
        negative = self._text(negative_prompt).tensors["prompt_embeds"]
        return Encoded({**positive.tensors, "negative_prompt_embeds": negative}, positive.ids)

    def _text(self, text: str) -> Encoded:
        return self._once(("prompt", text), lambda: self.backbone.encode_prompt(text, None))

    def _once(self, key: tuple, encode: Callable[[], Any]) -> Encoded:
        found = self._kept.pop(key, None)
        if found is None:
            ids: list[list[int]] = []
            handle = self.backbone.pipe.text_encoder.register_forward_pre_hook(token_ids_into(ids), with_kwargs=True)
            try:
                with torch.no_grad():
                    found = Encoded(encode(), ids)
            finally:
                handle.remove()
        self._kept[key] = found  # as the latest
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return found


def token_ids_into(ids: list[list[int]]) -> Callable[[nn.Module, tuple, dict], None]:
    """A hook before a text encoder's forward that adds the token ids of every text to a list."""

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = kwargs.get("input_ids", args[0] if args else None)
        if given is not None:
            ids.extend(given.tolist())

    return hook
