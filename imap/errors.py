"""The error that a user of imap meets, and errors in one line."""


class ImapError(ValueError):
    """A request that cannot be met. The message is one line that a user can act on."""


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class if there is none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def one_line(error: Exception) -> str:
    """An error in one line, with the name of its class unless the message is written for users."""
    if isinstance(error, ImapError | OSError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")
