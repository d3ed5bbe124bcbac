"""Heads are worked on in groups that bound memory."""

import pytest

from imap.maps import grouping


@pytest.mark.parametrize(("fits", "groups"), [(0, 5), (1, 5), (2, 3), (4, 2), (5, 1), (100, 1)])
def test_head_groups_take_every_head_once_however_small_the_working_set(monkeypatch, fits, groups):
    monkeypatch.setattr(grouping, "WORKING_SET", fits * 4 * 10 * (2 * 4 + 3 * 3))
    found = grouping.head_groups(heads=5, tokens=10, slots=3, width=4)
    assert len(found) == groups and [head for group in found for head in range(5)[group]] == list(range(5))
