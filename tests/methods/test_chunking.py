"""Heads are worked on in groups that bound memory."""

import pytest
import torch

from imap.methods import chunking


@pytest.mark.parametrize(("fits", "groups"), [(0, 5), (1, 5), (2, 3), (4, 2), (5, 1), (100, 1)])
def test_head_groups_take_every_head_once_however_small_the_working_set(monkeypatch, fits, groups):
    monkeypatch.setattr(chunking, "working_set", lambda device: fits * 4 * 10 * (2 * 4 + 3 * 3))
    found = chunking.head_groups(torch.zeros(5, 2, 5, 4), slots=3)
    assert len(found) == groups and [head for group in found for head in range(5)[group]] == list(range(5))
