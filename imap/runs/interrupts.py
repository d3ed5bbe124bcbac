"""Ctrl-C and SIGTERM end a command after the current write. The second one ends it at once."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 0.3  # seconds: some programs send a signal to the process and then to its group
AGAIN = 0.05  # seconds after an interrupt was lost
BACKGROUND = "imap-"  # names of threads that need not end before the process


class _State:
    """What has come since the handlers were installed."""

    def __init__(self) -> None:
        self.installed = False
        self.number: int | None = None  # of the first signal
        self.at = 0.0
        self.lost = False  # the exception was ignored, so the next signal is our own
        self.writes = 0  # under way
        self.hint = ""


_state = _State()


@contextmanager
def ends_on_signals(hint: str = "") -> Iterator[None]:
    """Run a command that SIGINT and SIGTERM end, with status 130 and 143 and one line. hint: the end of that line."""
    if _state.installed:
        _state.hint = hint
        yield
        return
    handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before, hook = {number: signal.getsignal(number) for number in handled}, sys.unraisablehook
    vars(_state).update(vars(_State()))
    _state.installed, _state.hint = True, hint
    for number in handled:
        signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable
    try:
        yield
        check()
    except KeyboardInterrupt:
        _end()
    except (Exception, SystemExit):  # a library may turn an interrupt into an error of its own
        if _state.number is None:
            raise
        _end()
    finally:
        sys.unraisablehook, _state.installed = hook, False
        for number, handler in before.items():
            signal.signal(number, handler if _state.number is None else _on_late_signal)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish what is inside before a signal ends the command."""
    _state.writes += 1
    try:
        yield
    finally:
        _state.writes -= 1
    check()


def check() -> None:
    """Raise KeyboardInterrupt if a signal has come, also where a library has ignored the first exception."""
    if _state.installed and _state.number is not None and not _state.writes:
        raise KeyboardInterrupt


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.number is not None and not _state.lost:
        if time.monotonic() - _state.at < SAME:
            return
        os.write(2, b"\nimap: ended at once\n")
        os._exit(128 + number)
    _state.number, _state.lost = _state.number or number, False
    _state.at = time.monotonic()
    if not _state.writes:
        raise KeyboardInterrupt


def _on_late_signal(number: int, frame: FrameType | None) -> None:
    """A signal after the command has ended: the same one again while the process ends, or one of a later time."""
    if time.monotonic() - _state.at >= SAME:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _on_unraisable(ignored: Any) -> None:
    """Send the signal again if Python could not raise its exception, as in a destructor."""
    if _state.number is None or not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    _state.lost = True
    timer = threading.Timer(AGAIN, os.kill, (os.getpid(), _state.number))
    timer.daemon = True
    timer.start()


def _end() -> None:
    _state.at, _state.lost = time.monotonic(), False  # a signal that is sent again now has done its work
    status = 128 + (_state.number or signal.SIGINT)
    print(f"imap: interrupted{_state.hint}", file=sys.stderr, flush=True)
    if any(thread.name.startswith(BACKGROUND) for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(status)  # Python would wait for the thread, or stop it inside a library
    sys.exit(status)
