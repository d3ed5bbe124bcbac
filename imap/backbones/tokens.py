"""Words and tokens: which tokens of a text a word spans."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imap.backbones.features import TokenizedText


def tokenize(tokenizer: Any, text: str, max_length: int) -> TokenizedText:
    """Tokens of a text, special tokens included and cut to max_length, with the characters that each covers."""
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(text, truncation=True, max_length=max_length, return_offsets_mapping=True)
        ids, spans = encoded["input_ids"], [tuple(span) for span in encoded["offset_mapping"]]
        return TokenizedText(text, tuple(ids), tuple(tokenizer.convert_ids_to_tokens(ids)), tuple(spans))
    ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    return TokenizedText(text, tuple(ids), tuple(pieces), tuple(_walk(text, pieces)))


def _walk(text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Character spans for a tokenizer that does not give them: find each sentencepiece after the one before."""
    spans, cursor = [], 0
    for piece in pieces:
        written = piece.replace("\u2581", "")
        start = text.find(written, cursor) if written else -1
        spans.append((start, start + len(written)) if start >= 0 else (cursor, cursor))
        cursor = spans[-1][1]
    return spans


@dataclass(frozen=True)
class Place:
    """A word in a prompt.

    Attributes:
        tokens: of its first occurrence; none if it is not there.
        everywhere: of all its occurrences.
        without: the prompt without it.
    """

    tokens: tuple[int, ...]
    everywhere: tuple[int, ...]
    without: str


def place_of(words: str, tokenized: TokenizedText) -> Place:
    """Where `words` are in a text.

    Case is ignored. A single word that is not there as written is also found in another inflection, so that
    "rolling" finds "rolls".
    """
    spans, text = occurrences(words, tokenized.text), tokenized.text
    tokens = [_tokens(span, tokenized) for span in spans]
    without = text
    for start, stop in reversed(spans):
        without = f"{without[:start]} {without[stop:]}"
    everywhere = tuple(dict.fromkeys(token for place in tokens for token in place))
    return Place(tokens[0] if tokens else (), everywhere, " ".join(without.split()))


def tokens_of(words: str, tokenized: TokenizedText) -> tuple[int, ...]:
    """Indices of the tokens that the first occurrence of `words` in the text spans; empty when it is not there."""
    return place_of(words, tokenized).tokens


def _tokens(span: tuple[int, int], tokenized: TokenizedText) -> tuple[int, ...]:
    return tuple(i for i, (a, b) in enumerate(tokenized.spans) if a < span[1] and b > span[0])


def occurrences(words: str, text: str) -> list[tuple[int, int]]:
    """Characters [start, stop) of every occurrence of `words` in a text, as `place_of` finds them."""
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    found = [x.span() for x in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)]
    if not found and len(words.split()) == 1:
        found = [x.span() for x in re.finditer(r"\w+", text) if stem(x.group()) == stem(words)]
    return found


def stem(word: str) -> str:
    """A word without its English inflection, good enough to tell that rolls, rolled and rolling are one verb."""
    word = word.lower()
    for ending in ("ing", "ied", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word.rstrip("ey") if len(word.rstrip("ey")) >= 2 else word
