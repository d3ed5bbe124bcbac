"""Where words are in a stock call, found without imap: by counting tokens, and by looking at what a change changes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.families.stock import (
    OTHER,
    PROMPT,
    TEXT,
    WORDS,
    Attention,
    Call,
    models_of,
    of_row,
    recorded,
    sample,
)

WINDOW = 16  # tokens that a concept is padded to (docs/method.md, 4)


@dataclass(frozen=True)
class Text:
    """A text as the pipeline's tokenizer got it: `whole` with its template, ids with padding last, and their mask."""

    prompt: str
    whole: str
    ids: list[int]
    mask: list[int]


@dataclass(frozen=True)
class Place:
    """Where the prompt's text is in a stock run.

    Attributes:
        attention: number of the attention call of a block that sees the text.
        visual: tokens of the video among its queries.
        text: tokens of the text among its keys, in the order of the text's slots.
        joint: whether the video is among the keys too.
        video_leads: in the joint sequence. A packed history may lead both.
    """

    attention: int
    visual: Tensor = field(repr=False)
    text: Tensor = field(repr=False)
    joint: bool
    video_leads: bool


@contextmanager
def tokenized(pipe: Any) -> Iterator[list[tuple[Any, Any]]]:
    """What the pipeline's main tokenizer is given and gives."""
    owner = next(kind for kind in type(pipe.tokenizer).__mro__ if "__call__" in vars(kind))
    own, found = owner.__call__, []

    def call(self: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        out = own(self, text, *args, **kwargs)
        if self is pipe.tokenizer:
            found.append((text, out))
        return out

    owner.__call__ = call
    try:
        yield found
    finally:
        owner.__call__ = own


def text_given(found: Sequence[tuple[Any, Any]], prompt: str = PROMPT) -> Text:
    """The first padded text that holds the prompt."""
    for text, out in found:
        for i, one in enumerate([text] if isinstance(text, str) else text or ()):
            if isinstance(one, str) and prompt.lower() in one.lower() and "attention_mask" in out:
                ids, mask = (torch.as_tensor(out[name]) for name in ("input_ids", "attention_mask"))
                ids, mask = (x.reshape(-1, x.shape[-1])[i].tolist() for x in (ids, mask))
                ids = sorted(zip(mask, ids, strict=True), key=lambda x: -x[0])  # connectors move padding to the end
                return Text(prompt, one, [x for _, x in ids], sorted(mask, reverse=True))
    raise ValueError(f"the tokenizer did not get {prompt!r}")


def slots_of_words(pipe: Any, text: Text, dropped: int, words: Sequence[str] = WORDS) -> list[list[int]]:
    """Slots of each word: how many tokens are before it, and how many with it, without those that are dropped."""
    start = _start(text)
    spans = [(start + text.prompt.index(word), start + text.prompt.index(word) + len(word)) for word in words]
    counts = [[_count(pipe, text, text.whole[:stop].rstrip()) - dropped for stop in span] for span in spans]
    return [list(range(*count)) for count in counts]


def tokens_dropped(pipe: Any, text: Text, slots: int, changed: int) -> int:
    """Tokens of a text that its first slot is behind: those of a template that the pipeline drops, or none.

    slots: of the transformer's call. More than the text has tokens are those and states of a picture, which come first:
    then the prompt's first slot is `changed`, the first one that another prompt changes.
    """
    dropped = len(text.ids) - slots
    return dropped if dropped >= 0 else _count(pipe, text, text.whole[: _start(text)]) - changed


def slots_before(pipe: Any, text: Text, dropped: int) -> int:
    """Slots before those of the prompt: of a template's tokens that the pipeline does not drop, or of a picture."""
    whole = text.whole[: _start(text)]
    return max(0, _count(pipe, text, whole) - dropped) if whole else 0


def _start(text: Text) -> int:
    return text.whole.lower().rindex(text.prompt.lower())


def _count(pipe: Any, text: Text, part: str) -> int:
    """How many of a text's tokens the first part of it has."""
    # as the pipeline did: a chat template brings its own special tokens
    both = (pipe.tokenizer(part, add_special_tokens=x) for x in (True, False))
    return max(_same(encoded["input_ids"], text.ids) for encoded in both)


def _same(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first numbers are equal."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def own_slots(text: Text, slots: int) -> int:
    """How many of a text's slots are not padding."""
    return sum(text.mask) - (len(text.ids) - slots)


def conditional(pipe: Any, calls: Sequence[Call], per_step: int) -> tuple[int, int, int]:
    """The first call, row and slot of a step that another prompt changes. calls: of a run with PROMPT."""
    with recorded(models_of(pipe), stop=per_step) as others:
        sample(pipe, OTHER)
    for i, (one, other) in enumerate(zip(calls, others, strict=False)):
        for row, (a, b) in enumerate(zip(one.arguments[TEXT], other.arguments[TEXT], strict=True)):
            if not torch.equal(a, b):
                slots = min(a.shape[-2], b.shape[-2])  # texts that are not padded differ in length
                return i, row, int((a[..., :slots, :] != b[..., :slots, :]).flatten(0, -2).any(dim=-1).nonzero()[0])
    raise ValueError("no row of the transformer's text depends on the prompt")


def place_of(models: Mapping[nn.Module, Sequence[nn.Module]], call: Call, row: int) -> Place:
    """Where the text is: what changes with the text in the first block's attention, and not with the video.

    models: the transformer of the call in float64.
    """
    plain, moved, told = (_first_block(models, call, row, name) for name in (None, "hidden_states", TEXT))

    def changed(one: Attention, number: int, part: int) -> Tensor:
        return (one[number][part] != plain[number][part]).any(dim=-1).any(dim=0)

    by_video = [(changed(moved, n, 0), changed(moved, n, 1)) for n in range(len(plain))]
    by_text = [changed(told, n, 1) & ~by_video[n][1] for n in range(len(plain))]
    # joint attention before cross-attention, where a block has both
    number = max((n for n in range(len(plain)) if by_text[n].any()), key=lambda n: (bool(by_video[n][1].any()), n))
    visual, among_keys = by_video[number]
    places = (x.nonzero()[:, 0] for x in (visual, by_text[number]))
    joint, video_leads = bool(among_keys.any()), bool(visual.nonzero()[0] < by_text[number].nonzero()[0])
    return Place(number, *places, joint=joint, video_leads=video_leads)


def _first_block(
    models: Mapping[nn.Module, Sequence[nn.Module]], call: Call, row: int, change: str | None
) -> Attention:
    """Attention of a call's row inside the first block, with another value of one argument of the model."""
    given = {name: of_row(x, row, call.rows) for name, x in call.arguments.items()}
    if change:
        noise = torch.randn(given[change].shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        given[change] = given[change] + noise
    (model,) = models
    with recorded(models) as calls:
        model(**given)
    return calls[0].blocks[0].of_row(0, 1)
