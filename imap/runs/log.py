"""The log of a command, and errors in one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from imap.errors import ImapError
from imap.runs.interrupts import check


def plain_log() -> None:
    """Log our own messages without prefix, and only errors of the libraries."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "diffusers", "transformers", "fontTools", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the process with one line for an ImapError. Inside hydra.main, Hydra would print a page."""
    try:
        yield
    except Exception as error:
        check()  # a library may turn an interrupt into an error of its own
        if not isinstance(error, ImapError):
            raise
        sys.exit(f"imap: error: {error}")
