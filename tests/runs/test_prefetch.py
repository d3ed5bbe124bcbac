"""Prefetching is one item ahead, in order, and a failure concerns its own item only."""

import threading

import pytest

from imap.runs.prefetch import prefetch


def test_items_come_in_order_and_the_next_one_is_prefetched():
    made = [threading.Event() for _ in range(4)]

    def make(n):
        made[n].set()
        return n * n

    taken = prefetch(make, range(4))
    for n in range(4):
        assert next(taken).result() == n * n
        if n + 1 < 4:
            assert made[n + 1].wait(10)  # although nobody has taken it
        assert not any(event.is_set() for event in made[n + 2 :])
    assert next(taken, None) is None


def test_a_failure_is_raised_by_its_items_future():
    def make(n):
        if n == 1:
            raise ValueError("broken file")
        return n

    first, second, third = prefetch(make, range(3))
    assert (first.result(), third.result()) == (0, 2)
    with pytest.raises(ValueError, match="broken file"):
        second.result()


def test_an_empty_list_yields_nothing():
    assert list(prefetch(print, [])) == []
