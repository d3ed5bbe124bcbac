"""Prefetch the next item of a list in a background thread."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")


def prefetch(make: Callable[[Item], Ready], items: Iterable[Item]) -> Iterator[Future[Ready]]:
    """Apply `make` to every item in order, in a background thread that is at most one item ahead.

    Yields:
        A future of each result. It raises its item's exception; other items go on.
    """
    with ThreadPoolExecutor(1, "prefetch") as pool:
        coming: Future[Ready] | None = None
        for item in items:
            ready, coming = coming, pool.submit(make, item)
            if ready is not None:
                yield ready
        if coming is not None:
            yield coming
