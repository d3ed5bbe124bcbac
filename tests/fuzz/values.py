"""Values that nobody expects, and the one property of all checks: one line of error, or the value as it was given."""

import decimal
import fractions
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from imap import ImapError

FAST, ALL = 12, 1000  # examples of a test in plain pytest; of all tests together in the slow part
LONGEST = 1000  # characters of a message


def nested(depth: int) -> list:
    """A list in a list in a list."""
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


words = st.sampled_from(
    ["ball", "a ball jumps", "kite, ring", "馬 🐎", 'A \\ ball\'s "kite" = ${x} 50%', "x" * 300, "ä̈"]
)
texts = st.one_of(
    words,
    st.text(max_size=12),
    st.text("\0\n\r\t\x1b\x7f\x85\u2028\u200b\ufeff\ud83d\udc00 ,[]{}'\"\\$=", max_size=6),
    st.sampled_from(["", " ", "true", "false", "null", "nan", "inf", "-1", "1e400", "9" * 400, "9" * 5000, "[" * 200]),
)
numbers = st.one_of(
    st.integers(-3, 60),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**63, 2**64, -(2**63) - 1]),
    st.just(5000).map(lambda digits: 10**digits),  # made late: Python cannot write it
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0, 4.0]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    st.binary(max_size=4),
)
odd = st.sampled_from(
    [
        np.int64(2),
        np.float32(2.5),
        np.float64("nan"),
        np.bool_(True),
        np.str_("ball"),
        np.array(2),
        np.array([1, 2]),
        np.array([], int),
        np.array([1.5]),
        np.zeros((300, 300)),
        np.array(["ball", "kite"]),
        torch.tensor(2),
        torch.zeros(40, 40),
        range(1, 3),
        (1, 2),
        {1, 2},
        {"a": 1},
        Path("ball"),
        1 + 2j,
        decimal.Decimal("2.5"),
        fractions.Fraction(5, 2),
        nested(20),
        object,
        len,
    ]
)
values = st.one_of(scalars, st.lists(scalars, max_size=4), odd, st.just(5000).map(nested))


def fuzzed(share: float, few: int = FAST) -> pytest.MarkDecorator:
    """Runs a test with few `examples`, and in the slow part with its share of ALL."""
    slow = pytest.param(round(ALL * share), marks=pytest.mark.slow, id="many")
    return pytest.mark.parametrize("examples", [pytest.param(few, id="few"), slow])


def search(examples: int, check: Callable[..., None], *strategies: st.SearchStrategy) -> None:
    """Call `check` with drawn values, the same ones in each run."""
    chosen = settings(
        max_examples=examples,
        phases=[Phase.generate],  # without shrinking, which takes minutes
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(check))()


def accepted(work: Callable[[], Any], names: str = "") -> Any:
    """The result of `work`, or None if it was refused as it should be: in one printable line, which has `names`."""
    try:
        return work()
    except ImapError as error:
        line = str(error)
        assert line.isprintable() and 0 < len(line) < LONGEST, ascii(line)[:300]
        assert names in line, f"{names} is not in {ascii(line)[:300]}"
        return None


def same(result: Any, given_value: Any) -> bool:
    """Whether a setting is the value that was given: of numpy and lists the plain value, and of a bool only a bool."""
    if isinstance(given_value, np.ndarray | np.generic):
        given_value = given_value.tolist()
    if isinstance(result, bool) or isinstance(given_value, bool):
        return result is given_value
    if isinstance(result, tuple | list):
        given_value = given_value if isinstance(given_value, list | tuple | range) else [given_value]
        return len(result) == len(given_value) and all(map(same, result, given_value))
    if isinstance(result, str):
        return isinstance(given_value, str) and result.lower() == given_value.lower()
    return bool(result == given_value)
