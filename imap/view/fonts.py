"""Letters and fonts: what an installed font can draw, and from which one."""

import logging
import unicodedata
from collections.abc import Sequence
from functools import cache

import matplotlib
from matplotlib import ft2font
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

log = logging.getLogger("imap")
JOINS_LETTERS = hasattr(ft2font, "__libraqm_version__")  # matplotlib 3.11 and later
INDIC = range(0x0900, 0x0E00)


def families_for(texts: Sequence[str]) -> list[str]:
    """Font families that draw these texts: matplotlib's own first, then installed ones for letters that it lacks.

    Logs letters that no font has.
    """
    found = [_family_of(letter) for letter in dict.fromkeys("".join(texts)) if not _is_plain(letter)]
    missing = tuple(dict.fromkeys(letter for text in texts for letter in text if _is_missing(letter)))
    if missing:
        _warn(missing)
    if not JOINS_LETTERS and any(_is_joined(letter) for text in texts for letter in text):
        _warn_of_order()
    return list(dict.fromkeys([*matplotlib.rcParams["font.family"], *(family for family in found if family)]))


def drawable(text: str) -> str:
    """A text with U+ and a number in place of each letter that no installed font has."""
    return "".join(f"U+{ord(x):04X} " if _is_missing(x) else x for x in text).rstrip()


@cache
def _warn(letters: Sequence[str]) -> None:
    log.warning(
        "no installed font has %s; pictures show the numbers of these letters. A font such as Noto Sans CJK or Noto "
        "Emoji has them",
        " ".join(letters),
    )


@cache
def _warn_of_order() -> None:
    log.warning(
        "pictures show Arabic, Hebrew or Indic letters one by one from left to right; matplotlib 3.11 joins them"
    )


def _is_joined(letter: str) -> bool:
    """Whether a letter is written from right to left, or changes its form beside others."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or ord(letter) in INDIC


def _is_missing(letter: str) -> bool:
    return letter.isprintable() and not _is_plain(letter) and _family_of(letter) is None


def _is_plain(letter: str) -> bool:
    return ord(letter) < 128 or ord(letter) in _letters_of(findfont(FontProperties()))


@cache
def _family_of(letter: str) -> str | None:
    """An installed family with a letter, plain ones before bold or slanted ones; None if there is none."""
    fonts = sorted(fontManager.ttflist, key=lambda font: (font.style != "normal", font.weight != 400, font.name))
    real = (font for font in fonts if not font.name.startswith("Last Resort"))  # it has a box for every script
    return next((font.name for font in real if ord(letter) in _letters_of(font.fname)), None)


@cache
def _letters_of(path: str) -> frozenset[int]:
    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # fonts of coloured pictures cannot be drawn
        return frozenset()
