"""Errors in one line, also those without a message."""

import numpy as np
import pytest

from imap.errors import ImapError, brief, first_line, one_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("a\nb"), "a"), (ValueError(" \n "), "ValueError"), (KeyboardInterrupt(), "KeyboardInterrupt")],
)
def test_the_first_line_is_the_message_or_the_class(error, expected):
    assert first_line(error) == expected


def test_an_error_for_users_has_no_class_in_front():
    assert one_line(ImapError("set fps=8")) == "set fps=8" and one_line(ValueError("a\nb")) == "ValueError: a"
    assert one_line(RuntimeError()) == "RuntimeError"


def test_an_error_is_one_printable_line():
    assert str(ImapError("no file a\nb\x1b[0m\ud83d.mp4")) == r"no file a\nb\x1b[0m\ud83d.mp4"
    assert str(ImapError("馬 🐎")) == "馬 🐎"


@pytest.mark.parametrize(
    "value", [np.zeros((9, 9)), 10**5000, [10**5000], "x" * 999], ids=["array", "number", "list", "text"]
)
def test_a_value_is_shown_in_one_short_line(value):
    assert len(brief(value)) <= 80 and "\n" not in brief(value)


def test_short_values_are_shown_as_python_writes_them():
    assert brief("a  b") == "'a  b'" and brief([1, None]) == "[1, None]"
