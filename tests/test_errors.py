"""Errors in one line, also those without a message."""

import pytest

from imap.errors import ImapError, first_line, one_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("a\nb"), "a"), (ValueError(" \n "), "ValueError"), (KeyboardInterrupt(), "KeyboardInterrupt")],
)
def test_the_first_line_is_the_message_or_the_class(error, expected):
    assert first_line(error) == expected


def test_an_error_for_users_has_no_class_in_front():
    assert one_line(ImapError("set fps=8")) == "set fps=8" and one_line(ValueError("a\nb")) == "ValueError: a"
    assert one_line(RuntimeError()) == "RuntimeError"
