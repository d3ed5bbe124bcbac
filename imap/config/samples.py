"""Checked samples: a prompt, concepts (nouns), motion words, and files: a clip for renoising, pictures."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imap.config.checks import check_path, check_text
from imap.errors import ImapError, brief

PICTURES = ("image", "last_image")
LONGEST_SLUG = 48  # characters
OPTIONS = {"s": "concepts only", "t": "motion words only", "st": "both"}


@dataclass(frozen=True)
class Sample:
    """One prompt and the words to look for in its video. `motions` is called `object` in an input list."""

    prompt: str
    concepts: tuple[str, ...]
    motions: tuple[str, ...]
    video_path: Path | None = None
    image: Path | None = None  # that an image-to-video model starts from
    last_image: Path | None = None  # that it ends at

    @property
    def pictures(self) -> dict[str, Path]:
        """Picture files, by argument of the model's call."""
        return {name: path for name in PICTURES if (path := getattr(self, name)) is not None}

    @property
    def files(self) -> dict[str, Path]:
        """The clip and the picture files, by key of an input list."""
        return ({"video_path": self.video_path} if self.video_path else {}) | self.pictures

    @property
    def slug(self) -> str:
        """The prompt as a folder name: ASCII letters, digits and hyphens, at most 48 characters."""
        return self._plain[:LONGEST_SLUG].strip("-") or "sample"

    @property
    def folder_name(self) -> str:
        """The slug, with a digest of the prompt if the slug is cut or lacks letters of other alphabets."""
        letters = unicodedata.normalize("NFKD", self.prompt)
        lacks = len(self._plain) > LONGEST_SLUG or any(x.isalnum() and not x.isascii() for x in letters)
        return f"{self.slug}-{digest(self.prompt)}" if lacks else self.slug

    @property
    def _plain(self) -> str:
        plain = unicodedata.normalize("NFKD", self.prompt).encode("ascii", "ignore").decode().lower()
        return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def digest(text: str) -> str:
    """Eight characters of a text's hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def split_texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Words from a list, or from one string such as "a, b" or "[a, b]"."""
    if value is None:
        return ()
    if isinstance(value, str):
        inside = value.strip()
        if inside[1:-1].count(inside[:1]) == 0:  # '"a, b"', as Hydra writes a text; but not '"a", "b"'
            inside = _unquoted(inside).strip()
        if inside.startswith("[") and inside.endswith("]"):
            inside = inside[1:-1]
        value = [_unquoted(word.strip()) for word in inside.split(",")] if inside.strip() else []
    if isinstance(value, bytes) or not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise ImapError(f"expected words, got {brief(value)}")
    return tuple(" ".join(word.split()) for word in value)


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def check_words(concepts: Sequence[str], motions: Sequence[str]) -> None:
    """Raise ImapError if there is no word to look for, or one is empty or a duplicate."""
    texts = [*concepts, *motions]
    if not texts:
        raise ImapError('no words to look for; set concepts (nouns) or motions, such as concepts="ball, dog"')
    if "" in texts:
        raise ImapError(f"one of the words is empty in {brief(texts)}; remove the extra comma")
    seen: set[str] = set()
    for text in texts:
        if text.lower() in seen:
            raise ImapError(f"{brief(text)} is a duplicate in concepts and motions; write each word once")
        seen.add(text.lower())


def make_sample(
    prompt: Any,
    concepts: Any,
    motions: Any,
    video_path: str | Path | None = None,
    concept_option: str = "st",
    image: str | Path | None = None,
    last_image: str | Path | None = None,
) -> Sample:
    """A checked sample.

    Args:
        prompt: sentence that describes the video.
        concepts: nouns, as `split_texts` reads them.
        motions: motion words, as `split_texts` reads them.
        video_path: the clip, for renoising.
        concept_option: s (use concepts only), t (motions only) or st (both).
        image, last_image: pictures for an image-to-video model.

    Raises:
        ImapError: for an empty prompt, and for words as `check_words` does.
    """
    if concept_option not in OPTIONS:
        raise ImapError(
            f"concept_option={brief(concept_option)} is not known; it can be s (concepts), t (motions) or st"
        )
    if not isinstance(prompt, str) or not prompt.strip():
        raise ImapError("the prompt is empty; describe the video in a sentence")
    check_text("prompt", prompt)
    files = [
        Path(check_path(name, file)) if file else None
        for name, file in (("video_path", video_path), ("image", image), ("last_image", last_image))
    ]
    nouns = split_texts(concepts) if "s" in concept_option else ()
    verbs = split_texts(motions) if "t" in concept_option else ()
    check_words(nouns, verbs)
    for text in (*nouns, *verbs):
        check_text("a word", text)
    return Sample(prompt.strip(), nouns, verbs, *files)


def numbered(samples: Sequence[Sample]) -> Iterator[tuple[str, Sample]]:
    """Samples in order, each with the folder name <index>-<slug> that it gets if it is new."""
    for index, sample in enumerate(samples):
        yield f"{index:03d}-{sample.folder_name}", sample
