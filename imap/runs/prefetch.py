"""The next of a list is made ready while the one before is worked on."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")


def prefetch(make: Callable[[Item], Ready], items: Iterable[Item]) -> Iterator[Future[Ready]]:
    """`make` of every item in order, by a thread of its own that is at most one item ahead of who takes them.

    A failure comes out where its future is asked, and stops none of the others.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming: Future[Ready] | None = None
        for item in items:
            ready, coming = coming, pool.submit(make, item)
            if ready is not None:
                yield ready
        if coming is not None:
            yield coming
