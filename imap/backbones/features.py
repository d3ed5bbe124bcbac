"""What an adapter reads from a block or a text: plain data, and the small functions that several families share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from torch import Tensor, nn

CONCEPT_WINDOW = 16  # tokens of a concept at most, end token included (docs/method.md, 4)
LONGEST = 4096  # tokens: long enough to count any concept without cutting it
MARK = "\x00"  # takes the place of a text, so that its place in a template can be found


@dataclass(frozen=True)
class Grid:
    """Visual tokens of one video: frames x height x width patches, frame-major."""

    frames: int
    height: int
    width: int

    @property
    def patches(self) -> int:
        return self.height * self.width


@dataclass(frozen=True)
class Slots:
    """The prompt's slots in the text of a call: `count` from `first` on; the last one counts for so many equal ones."""

    first: int = 0
    count: int = 0
    last_stands_for: int = 1

    @property
    def own(self) -> slice:
        return slice(self.first, self.first + self.count)


@dataclass
class BlockActivations:
    """What hooks have read of one block in the current forward pass, by reference: nothing is copied."""

    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the block
    outputs: dict[str, Any] = field(default_factory=dict)  # of the modules in `hooked_modules`
    head_outputs: Any = None  # Tensor (rows, tokens, heads * width): attention output before the projection

    def clear(self) -> None:
        self.arguments, self.outputs, self.head_outputs = {}, {}, None


@dataclass(frozen=True)
class Features:
    """Attention of one block for the conditional row.

    Attributes:
        q: (h, n, d) visual queries; None in blocks whose maps are not read.
        o: (h, n, d) visual head outputs.
        prompt_keys: (h, t, d) keys of the prompt.
        visual_keys, visual_values: Tensors (h, n, d) in joint attention, else None.
    """

    q: Tensor | None
    o: Tensor
    prompt_keys: Tensor
    visual_keys: Any = None
    visual_values: Any = None


@dataclass(frozen=True)
class ConceptStep:
    """Concept tokens in one block.

    Attributes:
        keys: (h, c, d).
        head_outputs: (h, c, d); None in cross-attention families.
        tokens: (1, c, width), input of the next block.
    """

    keys: Tensor
    head_outputs: Tensor | None
    tokens: Tensor


@dataclass(frozen=True)
class TokenizedText:
    """A text as its encoder gets it: token ids, pieces, and the characters [start, stop) that each covers."""

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def call_arguments(module: nn.Module, args: tuple, kwargs: dict) -> Mapping[str, Any]:
    """Arguments of a module call by name, passed by position or by keyword."""
    # signature of the class: offload or cache hooks may wrap the instance's forward and hide its parameters
    plain = getattr(module, "_orig_mod", module)  # of a compiled module
    arguments = signature(type(plain).forward).bind(plain, *args, **kwargs).arguments
    return {name: value for name, value in arguments.items() if name != "self"}


def text_of(call: Mapping[str, Any], row: int) -> Tensor:
    """Token embeddings (slots, width) of one row of a transformer call. Some pipelines give text an axis more."""
    return call["encoder_hidden_states"][row].flatten(0, -2)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(tokens, heads * width) to (heads, tokens, width), a view."""
    return x.unflatten(-1, (heads, -1)).transpose(0, 1)


def pick_token(tokens: Tensor, first: int, stop: int, concept_token: str) -> Tensor:
    """One embedding for a concept from its tokens [first, stop) of (tokens, width)."""
    span = tokens[first : max(stop, first + 1)]
    return {"first": span[0], "last": span[-1], "mean": span.mean(dim=0)}[concept_token]


def pick_of_text(tokens: Tensor, found: TokenizedText, concept_token: str) -> Tensor:
    """One embedding for a concept from tokens (slots, width) of a longer text, which begin as `found` does."""
    inside = [i for i, (start, stop) in enumerate(found.spans) if start < len(found.text) and stop > max(start, 0)]
    return pick_token(tokens, min(inside, default=0), max(inside, default=0) + 1, concept_token)
