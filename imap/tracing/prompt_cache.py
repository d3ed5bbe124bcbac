"""Text encodings of one pipeline, kept so that repeated texts are encoded once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from imap.backbones.base import Backbone
from imap.errors import ImapError
from imap.tracing.encodings import Encoding, encodings_into

PROMPT = "prompt"  # first part of a prompt's key
KEPT = 8  # latest encodings at most
KEPT_BYTES = 2**28  # of these: a prompt takes 4 MB in most models, and 385 MB in LTX-2
LATEST = 2  # kept in any case: the prompt and the negative prompt of a list


@dataclass(frozen=True)
class Encoded:
    """Text arguments of a pipeline call, and the texts that its encoder has read for them."""

    tensors: Any
    texts: list[Encoding]

    def all_tensors(self) -> list[Tensor]:
        """Its tensors, and those of its texts."""
        own = self.tensors.values() if isinstance(self.tensors, dict) else [self.tensors]
        return [x for x in (*own, *(text.tokens for text in self.texts)) if isinstance(x, Tensor)]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """A module without dropout, which would draw random numbers. Afterwards every part is in its own mode again."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


@dataclass
class PromptCache:
    """The latest text encodings of one pipeline, by the words and by how a concept's token is picked.

    Nothing is stored on the pipeline. Texts are kept as they were encoded, the concepts of one sample together, so
    every number equals that of a fresh encoding.
    """

    backbone: Backbone
    _kept: dict[tuple, Encoded] = field(default_factory=dict, repr=False)

    def check_pipeline(self, backbone: Backbone) -> None:
        """Raise ImapError unless the cache belongs to the pipeline of `backbone`."""
        if self.backbone.pipe is not backbone.pipe:
            other = type(self.backbone.pipe).__name__
            raise ImapError(
                f"prompt_cache= expected the cache of the traced {type(backbone.pipe).__name__}, got the cache of "
                f"another pipeline, a {other}; leave prompt_cache= out, or make one for each "
                "pipeline: imap.tracing.prompt_cache.PromptCache(imap.backbones.backbone_of(pipe))"
            )

    def concepts(self, texts: Sequence[str], concept_token: str) -> Tensor:
        """As `Backbone.encode_concepts`."""
        key = ("concepts", tuple(texts), concept_token)
        return self._once(key, lambda: self.backbone.encode_concepts(texts, concept_token)).tensors

    def prompt(self, prompt: str, negative_prompt: str | None) -> Encoded:
        """As `Backbone.encode_prompt`, each of the two texts encoded alone, with the prompt's tokens."""
        positive = self._text(prompt)
        if negative_prompt is None or not self.backbone.takes_negative_prompt:
            return positive
        negative = {f"negative_{name}": x for name, x in self._negative(negative_prompt).tensors.items()}
        return Encoded({**positive.tensors, **negative}, positive.texts)

    def _text(self, text: str) -> Encoded:
        return self._once((PROMPT, text), lambda: self.backbone.encode_prompt(text, None))

    def _negative(self, text: str) -> Encoded:
        return self._once(("negative", text), lambda: self.backbone.encode_negative(text))

    def _once(self, key: tuple, encode: Callable[[], Any]) -> Encoded:
        found = self._kept.pop(key, None)
        if found is None:
            texts: list[Encoding] = []
            hook = encodings_into(texts, self.backbone)
            handle = self.backbone.pipe.text_encoder.register_forward_hook(hook, with_kwargs=True)
            try:
                with torch.no_grad(), evaluating(self.backbone.pipe.text_encoder):
                    found = Encoded(encode(), texts if key[0] == PROMPT else [])  # only prompts are matched to calls
            finally:
                handle.remove()
        self._kept[key] = found  # as the latest
        while len(self._kept) > KEPT or (len(self._kept) > LATEST and self._bytes() > KEPT_BYTES):
            del self._kept[next(iter(self._kept))]
        return found

    def _bytes(self) -> int:
        """Bytes of all that is kept."""
        tensors = [x for one in self._kept.values() for x in one.all_tensors()]
        return sum(x.numel() * x.element_size() for x in tensors)
