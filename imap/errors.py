"""The error that a user of imap meets, and errors in one line."""


class ImapError(ValueError):
    """A request that cannot be met. The message is one line that a user can act on."""

    def __init__(self, message: str) -> None:
        # a path or a library's message may hold line breaks and control characters
        super().__init__("".join(x if x.isprintable() else ascii(x)[1:-1] for x in message))


class UnknownNameError(ImapError, KeyError):
    """A word or a map that is not there; also a KeyError, as of any mapping."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put it in quotes


def brief(value: object, length: int = 80) -> str:
    """A value as Python writes it, in one line of at most `length` characters."""
    try:
        lines = repr(value).splitlines()  # arrays have several
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list in a list in a list
        return f"a {type(value).__name__} that is too long to show"
    text = " ".join(line.strip() for line in lines)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class if there is none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def one_line(error: Exception) -> str:
    """An error in one line, with the name of its class unless the message is written for users."""
    if isinstance(error, ImapError | OSError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")
