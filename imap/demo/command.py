"""`imap demo`: serve the page until Ctrl-C."""

import os
import socket
import time
from collections.abc import Sequence

from imap.demo import check_gradio, page
from imap.errors import ImapError, brief, first_line
from imap.runs import interrupts
from imap.runs.log import errors_in_one_line, plain_log

LOOPBACK = "127.0.0.1"
PORT = ("--port", "demo.port", "port")
LOOK = 0.2  # seconds between two looks for a signal
HELP = """usage: {program} [--port N] [setting=value ...]

Serve a web page on this machine: a prompt or a clip, and words, in; their maps out. The page needs gradio, and no
network. Only this machine can open it. Results are temporary; the page has a button to download them. Ctrl-C ends it.

  --port N      port of the page [a free one from 7860]
  setting       those of imap sample and imap renoise, such as backbone=cogvideox_5b; --help of these lists them

examples:
  {program}
  {program} --port 8000 backbone=shapes_cogvideox
  {program} backbone=cogvideox_5b prompt="A horse gallops across a field." concepts="horse, field" motions=gallops
"""


def main(argv: Sequence[str], program: str = "imap demo") -> None:
    """Serve the page. program: name in usage lines."""
    if {"--help", "-h"} & set(argv):
        print(HELP.format(program=program), end="")
        return
    plain_log()
    with errors_in_one_line():
        check_gradio()
        port, settings = split_port(argv)
        serve(settings, port)


def split_port(argv: Sequence[str]) -> tuple[int | None, list[str]]:
    """The port, and all other arguments. The port is None if it is not set.

    Raises:
        ImapError: for a value that is no port.
    """
    value, settings, left = None, [], list(argv)
    while left:
        name, equals, text = (argument := left.pop(0)).partition("=")
        if name not in PORT:
            settings.append(argument)
        else:
            value = text if equals else left.pop(0) if left else ""
    if value is None:
        return None, settings
    if not (value.isascii() and value.isdigit() and len(value) < 6 and 0 < int(value) < 2**16):
        raise ImapError(f"--port {brief(value)} is not a port; set a number from 1 to 65535, such as --port 7860")
    return int(value), settings


def check_free(port: int) -> None:
    """Raise ImapError for a port that cannot be listened to."""
    try:
        with socket.create_server((LOOPBACK, port)):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ImapError(f"port {port}: {reason}; choose another one with --port") from None


def serve(settings: Sequence[str], port: int | None) -> None:
    """Load the model, serve the page on this machine alone, and return never: a signal ends it.

    Args:
        settings: of the model and its jobs.
        port: None takes a free one from 7860.

    Raises:
        ImapError: if the page cannot be served.
    """
    if port is not None:
        check_free(port)
    shown = page(*settings)
    try:
        try:
            _, address, _ = shown.launch(server_name=LOOPBACK, server_port=port, prevent_thread_lock=True, quiet=True)
        except OSError as error:
            raise ImapError(f"the page cannot be served: {first_line(error)}") from None
        print(f"{address} (Ctrl-C ends it)", flush=True)
        while True:
            interrupts.check()
            time.sleep(LOOK)
    finally:
        shown.end()
