"""Prefetch the next item of a list in a background thread."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Generic, TypeVar

from imap.runs.interrupts import BACKGROUND

Item = TypeVar("Item")
Ready = TypeVar("Ready")


class Prefetch(Generic[Item, Ready]):
    """Apply `make` to the next item in a background thread, at most one item ahead.

    An interrupt does not wait for the thread. Any other end of the `with` block does.
    """

    def __init__(self, make: Callable[[Item], Ready]) -> None:
        self._make = make
        self._next: tuple[Item, Future[Ready]] | None = None
        self._threads: list[Thread] = []

    def __enter__(self) -> "Prefetch[Item, Ready]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not KeyboardInterrupt:
            for thread in self._threads:
                thread.join()

    def start(self, item: Item) -> None:
        """Begin with an item, unless one that nobody has taken is still being made."""
        if self._next is not None and not self._next[1].done():
            return
        future: Future[Ready] = Future()
        self._next = (item, future)
        thread = Thread(target=self._fill, args=self._next, name=f"{BACKGROUND}prefetch", daemon=True)
        self._threads = [*filter(Thread.is_alive, self._threads), thread]
        thread.start()

    def take(self, item: Item) -> Callable[[], Ready]:
        """A function that returns the result, or raises the item's exception. An item not begun is made in it."""
        if self._next is None or self._next[0] != item:
            return partial(self._make, item)
        (_, future), self._next = self._next, None
        return future.result

    def _fill(self, item: Item, future: "Future[Ready]") -> None:
        try:
            future.set_result(self._make(item))
        except BaseException as error:
            future.set_exception(error)
