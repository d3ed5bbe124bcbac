"""Thresholds of masks: which values of a map belong to its word."""

import re
from numbers import Real
from typing import Any

import numpy as np

from imap.errors import ImapError, brief

HALF = 0.5  # the default: the middle of the pictures' scale
OTSU = "otsu"
RULES = f'a number from 0 to 1 on the scale of the pictures, "{OTSU}", or a share such as "top 10%"'
TOP = re.compile(r"top\s*(\d+(?:\.\d+)?)\s*%")


def check_threshold(value: Any) -> float | str:
    """A threshold as it is recorded: a float, "otsu" or "top 10%". Raises ImapError for anything else."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1:
        return float(value)
    text = value.strip().lower() if isinstance(value, str) else ""
    if text == OTSU:
        return OTSU
    found = TOP.fullmatch(text)
    if found and 0 < float(found[1]) <= 100:
        return f"top {float(found[1]):g}%"
    raise ImapError(f"threshold={brief(value)} is not known; it can be {RULES}")


def lowest_of_top(x: np.ndarray, rule: str) -> float:
    """The lowest value of the highest share of a map. rule: such as "top 10%", as `check_threshold` returns it."""
    count = max(1, round(float(rule[len("top ") : -1]) / 100 * x.size))
    return float(np.partition(x.ravel(), x.size - count)[x.size - count])


def otsu(x: np.ndarray) -> float:
    """Otsu's threshold, exact: the lowest value of the upper class, where the variance between classes is largest.

    Otsu 1979, "A threshold selection method from gray-level histograms", without a histogram.
    """
    values = np.sort(x.ravel()).astype(np.float64)
    below = np.arange(1, len(values))  # how many values are in the lower class
    low = np.cumsum(values)[:-1] / below
    high = (values.sum() - below * low) / (len(values) - below)
    between = below * (len(values) - below) * (high - low) ** 2  # among equal values convex: no maximum splits them
    return float(values[1:][between.argmax()])
