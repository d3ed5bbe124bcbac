"""What a reader of maps must know of their words."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from imap.backbones.features import TokenizedText
from imap.backbones.tokens import Place, same_text


def of_the_cut(prompt: TokenizedText, length: int, kept: int) -> Iterator[str]:
    """A note if a prompt of `length` tokens is longer than the text window of `kept` tokens."""
    if length <= kept:
        return
    seen = max((stop for _, stop in prompt.spans[:kept]), default=0)
    inside_a_word = prompt.text[seen : seen + 1].strip()
    rest = prompt.text[prompt.text.rfind(" ", 0, seen) + 1 if inside_a_word else seen :].split()
    yield (f"the prompt is {length} tokens long and the model sees {kept}: it is cut off before {' '.join(rest[:6])!r}")


def of_other_forms(places: Mapping[str, Place], clean: Callable[[str], str]) -> Iterator[str]:
    """Notes for words that are read in another form than typed, or at several places."""
    for text, place in places.items():
        others = dict.fromkeys(x for x in place.as_written if not same_text(x, clean(text)))
        if others:
            yield f"{text!r} is read from {', '.join(map(repr, others))} in the prompt"
        if len(place.as_written) > 1:
            yield f"{text!r} is in the prompt {len(place.as_written)} times, and all are read"


def of_unknown_tokens(ids: Mapping[str, Sequence[int]], unknown: int | None) -> Iterator[str]:
    """A note for words that the tokenizer replaces by its unknown token, in part or as a whole."""
    texts = [text for text, own in ids.items() if unknown is not None and unknown in own]
    if texts:
        yield (
            f"unknown to the model's tokenizer, in part or as a whole: {', '.join(texts)}; the model sees the same "
            "token for all unknown words, so such a map is not that of the word"
        )


def of_untaught_words(written: Mapping[str, Sequence[str]], prompt: str, known: Sequence[str] | None) -> Iterator[str]:
    """Notes for words that a small model was never taught. known: all that it was taught; None for any."""
    if known is None:
        return
    words = {text: re.findall(r"\w+", " ".join(forms).lower()) for text, forms in written.items()}
    untaught = [text for text, own in words.items() if not set(own) <= set(known)]
    if untaught:
        yield (
            f"this small model was never taught: {', '.join(untaught)}; maps of these words mean nothing. "
            f"Its words are {', '.join(known)}"
        )
    named = {word for one in words.values() for word in one}
    rest = [word for word in dict.fromkeys(re.findall(r"\w+", prompt.lower())) if word not in {*known, *named}]
    if rest:
        yield f"of the prompt, this small model was never taught: {', '.join(rest)}; a video need not show them"
