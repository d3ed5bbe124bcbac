"""One item ahead, in order, and a failure is its own item's."""

import threading

import pytest

from imap.runs.prefetch import prefetch


def test_items_come_in_order_and_the_next_is_made_meanwhile():
    made = [threading.Event() for _ in range(4)]

    def make(n):
        made[n].set()
        return n * n

    taken = prefetch(make, range(4))
    for n in range(4):
        assert next(taken).result() == n * n
        if n + 1 < 4:
            assert made[n + 1].wait(10)  # with nobody asking for it
        assert not any(event.is_set() for event in made[n + 2 :])
    assert next(taken, None) is None


def test_a_failure_comes_out_where_its_item_is_asked():
    def make(n):
        if n == 1:
            raise ValueError("broken file")
        return n

    first, second, third = prefetch(make, range(3))
    assert (first.result(), third.result()) == (0, 2)
    with pytest.raises(ValueError, match="broken file"):
        second.result()


def test_nothing_to_do_is_nothing():
    assert list(prefetch(print, [])) == []
