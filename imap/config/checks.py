"""Checks of single values, for commands and for the Python API. numpy's numbers are welcome."""

from numbers import Integral, Real
from typing import Any

from imap.errors import ImapError, brief

LONGEST_SCHEDULE = 1000  # training steps of all supported models
LARGEST_GUIDANCE = 1000  # more leaves no number in latents
LARGEST = 10**9  # pixels, frames or steps: more is a typing error
LONGEST_NAME, LONGEST_PATH = 255, 4096  # bytes that Linux takes, as most systems do


def positive(name: str, value: Any) -> int:
    """The value of a setting that is a count. Raises ImapError unless it is a whole number from 1 to LARGEST."""
    count = _whole(name, value)
    if count > LARGEST:
        raise ImapError(f"{name}={brief(value, 40)} is more than {LARGEST}; set a smaller number")
    return count


def check_steps(value: Any) -> int:
    """Length of a schedule. Raises ImapError unless it is a whole number from 1 to the models' training steps."""
    steps = _whole("num_inference_steps", value)
    if steps > LONGEST_SCHEDULE:
        raise ImapError(
            f"num_inference_steps={brief(steps, 40)} is more than the {LONGEST_SCHEDULE} training steps of the models; "
            "set fewer"
        )
    return steps


def check_guidance(value: Any) -> float:
    """A guidance scale. Raises ImapError unless it is a number from 1 to LARGEST_GUIDANCE."""
    if isinstance(value, bool) or not isinstance(value, Real) or not _within(value, 1, LARGEST_GUIDANCE):
        raise ImapError(
            f"guidance_scale={brief(value, 40)} is not a number of at least 1 (1 is no guidance) and at most "
            f"{LARGEST_GUIDANCE}"
        )
    return float(value)


def check_seed(value: Any) -> int:
    """A seed. Raises ImapError unless it is a whole number that torch takes."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not _within(value, -(2**63), 2**64 - 1):
        raise ImapError(f"seed={brief(value)} is not a whole number in torch's range of seeds")
    return int(value)


def check_boolean(name: str, value: Any) -> bool:
    """True or False. Raises ImapError for anything else, such as the text "no"."""
    if not isinstance(value, bool):
        raise ImapError(f"{name}={brief(value)} is neither true nor false")
    return value


def check_text(name: str, value: Any) -> str:
    """A text. Raises ImapError for anything else, and for one that cannot be written to a file."""
    if not isinstance(value, str):
        raise ImapError(f"{name}={brief(value)} is not a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ImapError(f"{name}={_short(value)} holds half a character (a lone surrogate); write it again") from None
    return value


def check_path(name: str, value: Any) -> str:
    """A path, which need not exist. Raises ImapError for one that no file can have."""
    text = check_text(name, str(value))
    if "\0" in text:
        raise ImapError(f"{name}={_short(text)} holds a NUL character, which no path can")
    if len(text.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in text.split("/")):
        raise ImapError(f"{name}={_short(text)} is too long for a path; name a shorter one")
    return text


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ImapError(f"{name}={brief(value)} is not a whole number of at least 1")
    return int(value)


def _short(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) < 80 else f"{shown[:76]}...'"


def _within(value: Any, low: float, high: float) -> bool:
    return bool(low <= value <= high)  # also for NaN, and for integers that no float can hold
