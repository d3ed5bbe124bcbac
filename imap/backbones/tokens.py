"""Words and tokens: which tokens of a text a word spans."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from imap.backbones.english import same_word
from imap.backbones.features import TokenizedText

SAME = str.maketrans(
    {**dict.fromkeys("\u2018\u2019\u02bc\u2032\u0060\u00b4", "'"), **dict.fromkeys("\u2010\u2011\u2012\u2013", "-")}
)
# letters of scripts that are written without spaces: Thai, Lao, Burmese, Khmer, kana, Han
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
LETTER = rf"[^\W{UNSPACED}]"  # of a script with spaces; a word ends where none follows
# what Korean writes after a noun without a space: subject, topic, object, place, plural ...
PARTICLES = "이|가|은|는|을|를|의|에|에서|에게|와|과|도|로|으로|만|들|들이|들은|들을|들의|랑|이랑|한테|부터|까지"
GAP = r"[\s-]+"  # between the words of a phrase


def tokenize(tokenizer: Any, text: str, max_length: int, special: bool = True) -> TokenizedText:
    """Tokens of a text, cut to max_length, with the characters that each covers.

    special: whether the tokenizer adds its special tokens, which count.
    """
    given = {"truncation": True, "max_length": max_length, "add_special_tokens": special}
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(text, **given, return_offsets_mapping=True)
        ids, spans = encoded["input_ids"], [tuple(span) for span in encoded["offset_mapping"]]
        return TokenizedText(text, tuple(ids), tuple(tokenizer.convert_ids_to_tokens(ids)), tuple(spans))
    ids = tokenizer(text, **given)["input_ids"]
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
        tokens: of all its occurrences that the model sees; none if it is not there.
        as_written: each of these occurrences as the prompt writes it.
        cut_off: occurrences in the part of the prompt that the text window cuts off.
        without: the prompt without the word.
    """

    tokens: tuple[int, ...]
    as_written: tuple[str, ...]
    cut_off: int
    without: str


def place_of(words: str, tokenized: TokenizedText) -> Place:
    """Where `words` are in a text, as `occurrences` finds them."""
    text, seen = tokenized.text, max((stop for _, stop in tokenized.spans), default=0)
    spans = occurrences(words, text)
    kept = [span for span in spans if span[1] <= seen]
    tokens = dict.fromkeys(token for span in kept for token in _tokens(span, tokenized))
    without = text
    for start, stop in reversed(spans):
        without = f"{without[:start]} {without[stop:]}"
    as_written = tuple(text[start:stop] for start, stop in kept)
    return Place(tuple(tokens), as_written, len(spans) - len(kept), " ".join(without.split()))


def _tokens(span: tuple[int, int], tokenized: TokenizedText) -> tuple[int, ...]:
    return tuple(i for i, (a, b) in enumerate(tokenized.spans) if a < span[1] and b > span[0])


def occurrences(words: str, text: str) -> list[tuple[int, int]]:
    """Characters [start, stop) of every occurrence of `words` in a text.

    Case, the kind of apostrophe, full width, and hyphen or space between words make no difference. A word of a script
    with spaces is a whole word of the text. Words that are not there as written are also found in other inflections, so
    that "flying" finds "flies", and with a Korean particle.
    """
    parts, plain = re.split(GAP, folded(words).strip(" -")), _Folded(text)
    found = [x.span() for x in re.finditer(_pattern(parts), plain.text)] if all(parts) else []
    if not found and all(parts):
        found = _inflected(parts, plain.text)
    return [plain.span(*span) for span in found]


def same_text(one: str, other: str) -> bool:
    """Whether two texts differ in nothing that `occurrences` looks at."""
    return re.split(GAP, folded(one)) == re.split(GAP, folded(other))


def folded(text: str) -> str:
    """A text without differences of case, width, apostrophes and hyphens."""
    return unicodedata.normalize("NFKC", text).translate(SAME).lower()


class _Folded:
    """A folded text that knows which characters of the text each of its own stands for."""

    def __init__(self, text: str) -> None:
        pieces, self.starts, self.stops = [], list[int](), list[int]()
        for cluster in re.finditer(r".[\u0300-\u036f\u3099\u309a\uff9e\uff9f]*", text, re.DOTALL):  # with its accents
            piece = folded(cluster.group())
            pieces.append(piece)
            self.starts += [cluster.start()] * len(piece)
            self.stops += [cluster.end()] * len(piece)
        self.text = "".join(pieces)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        return (self.starts[start], self.stops[stop - 1])


def _pattern(parts: Sequence[str]) -> str:
    first, last = parts[0][:1], parts[-1][-1:]
    before = f"(?<!{LETTER})" if re.match(LETTER, first) else ""
    after = f"(?!{LETTER})" if re.match(LETTER, last) else ""
    return before + GAP.join(re.escape(part) for part in parts) + after


def _inflected(parts: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Spans of a folded text whose words are forms of the parts, one by one."""
    words, found = list(re.finditer(rf"{LETTER}+", text)), []
    for start in range(len(words) - len(parts) + 1):
        run = words[start : start + len(parts)]
        gaps = [text[one.end() : other.start()] for one, other in pairwise(run)]
        same = all(_same_form(part, word.group()) for part, word in zip(parts, run, strict=True))
        if same and all(re.fullmatch(GAP, gap) for gap in gaps):
            found.append((run[0].start(), run[-1].end()))
    return found


def _same_form(one: str, word: str) -> bool:
    return same_word(one, word) or bool(re.fullmatch(rf"{re.escape(one)}({PARTICLES})", word))
