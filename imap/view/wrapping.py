"""Texts in lines."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any


def wrapped(text: str, lines: int, between_words: bool = True) -> str:
    """A text in at most so many lines of about the same length; between_words: break it nowhere else."""
    for width in range(max(1, len(text) // lines), len(text) + 1):
        found = wrap(text, width, break_long_words=not between_words, break_on_hyphens=False)
        if len(found) <= lines:
            return "\n".join(found)
    return text


def wrapped_caption(text: str, inches: float) -> str:
    """A caption in at most two lines of about so many inches, at nine points."""
    return "\n".join(wrap(text, int(inches / 0.07), max_lines=2, placeholder=" …"))


def wrapped_notes(notes: Sequence[str], inches: float) -> list[str]:
    """Notes in lines of about so many inches, each in at most two."""
    style: dict[str, Any] = {"max_lines": 2, "placeholder": " …"}
    return [line for note in notes for line in wrap(f"Note: {note}", int(inches / 0.045), **style)]
