"""A job in a separate thread, which can be stopped at its next step."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from imap.jobs.timing import Progress
from imap.runs.interrupts import BACKGROUND

T = TypeVar("T")


class Stopped(Exception):
    """The job was stopped."""


class Job(Generic[T]):
    """Runs `work`, which gets a `Progress`, at once.

    Attributes:
        place: stage, steps that are done and all steps, as of `Progress`.
        stages: all stages until now.
        result: what `work` has returned; None before.
        error: what `work` has raised; None otherwise.
    """

    def __init__(self, work: Callable[[Progress], T]) -> None:
        self.place: tuple[str, int, int] = ("wait", 0, 0)
        self.stages: set[str] = set()
        self.result: T | None = None
        self.error: BaseException | None = None
        self._stop, self._ended = threading.Event(), threading.Event()
        self._work = work
        self.thread = threading.Thread(target=self._run, name=f"{BACKGROUND}demo", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End it at its next step. Does nothing after its end."""
        self._stop.set()

    def ended(self, seconds: float = 0) -> bool:
        """Whether it has ended, after waiting for at most so long."""
        return self._ended.wait(seconds)

    def _run(self) -> None:
        try:
            self.result = self._work(self._progress)
        except BaseException as error:  # also an interrupt of the command, which is the main thread's to raise
            self.error = Stopped() if self._stop.is_set() or isinstance(error, KeyboardInterrupt) else error
        finally:
            self._ended.set()

    def _progress(self, stage: str, done: int, steps: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self.stages.add(stage)
        self.place = (stage, done, steps)
