"""Prefetching is one item ahead, and a failure concerns its own item only."""

import threading
import time

import pytest

from imap.runs.prefetch import Prefetch


def test_the_next_item_is_made_before_it_is_taken():
    made = threading.Event()

    def make(n):
        made.set()
        return n * n

    with Prefetch(make) as ahead:
        ahead.start(3)
        assert made.wait(10) and ahead.take(3)() == 9


def test_an_item_that_was_not_begun_is_made_when_it_is_needed():
    with Prefetch(lambda n: n * n) as ahead:
        ahead.start(2)
        assert ahead.take(5)() == 25 and ahead.take(2)() == 4 and ahead.take(2)() == 4


def test_one_item_at_a_time_is_in_the_background():
    begun, go = [], threading.Event()

    def make(n):
        begun.append(n)
        go.wait(10)
        return n

    with Prefetch(make) as ahead:
        ahead.start(1)
        ahead.start(2)
        go.set()
        assert ahead.take(2)() == 2 and ahead.take(1)() == 1
    assert sorted(begun) == [1, 2]


def test_a_failure_is_raised_by_its_own_item():
    def make(n):
        if n == 1:
            raise ValueError("broken file")
        return n

    with Prefetch(make) as ahead:
        ahead.start(1)
        broken = ahead.take(1)
        ahead.start(2)
        with pytest.raises(ValueError, match="broken file"):
            broken()
        assert ahead.take(2)() == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_does_not_wait_for_the_thread_and_other_ends_do(error):
    go, done = threading.Event(), threading.Event()

    def make(n):
        go.wait(10)
        done.set()

    if error is ValueError:
        threading.Timer(0.2, go.set).start()
    start = time.monotonic()
    with pytest.raises(error), Prefetch(make) as ahead:
        ahead.start(1)
        raise error
    assert done.is_set() == (error is ValueError) and time.monotonic() - start < 5
    go.set()
