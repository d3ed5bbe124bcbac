"""The log of a command, and its errors in one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from imap.errors import ImapError


def plain_log() -> None:
    """The log of a command: bare lines of our own, and of the libraries only their errors."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "diffusers", "transformers", "fontTools", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Leave the process with one line for an ImapError in a hydra.main function: Hydra would make a page of it."""
    try:
        yield
    except ImapError as error:
        sys.exit(f"imap: error: {error}")
