"""The oracle surrogate agrees with planted attention and with a plain loop."""

import numpy as np
import pytest
import torch

from imap.methods.gramcol import matches, standardized_columns, surrogates
from imap.methods.layer_maps import LayerActivations, SlotWeights
from imap.shapes.benchmark.oracle import OracleSurrogate, central_cells


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_central_cell_belongs_to_the_object():
    place = np.zeros((3, 4, 5), bool)
    place[0, 1:4, 2:5] = True
    place[1, 0, 0] = place[1, 0, 4] = place[1, 3, 1] = True  # its middle, (1, 1.7), is none of them
    assert central_cells(place).tolist() == [2 * 5 + 3, 0, -1]


def test_the_oracle_replaces_surrogates_of_known_words_in_frames_with_the_object():
    heads, frames, patches, width = 3, 2, 6, 4
    layer = LayerActivations(
        randn(heads, frames, patches, width), randn(heads, frames, patches, width, seed=1), randn(heads, 4, width)
    )
    weights, rows = torch.tensor([1.0, 1, 1, 5]), torch.eye(4)[[0, 2]]
    texts = SlotWeights(weights, rows, weights, rows)
    place = np.zeros((frames, 2, 3), bool)
    place[1, 0, 1:] = True  # the second word's, in the second frame alone
    oracle = OracleSurrogate([None, place], {4})
    oracle(3, 0, None, None, None)  # a layer that does not count is not read
    oracle(4, 0, layer, texts, None)
    per_head = surrogates(matches(layer.q, layer.keys))
    index = per_head.clone()
    index[:, 1, 2] = 1
    expected = standardized_columns(layer.o, index, weights, rows).mean(dim=0).transpose(0, 1)
    np.testing.assert_allclose(oracle.maps(), expected.numpy(), atol=1e-6)
    hits = [int(per_head[head, 1, 2]) in (1, 2) for head in range(heads)]
    assert oracle.on_object(1, consensus=False) == pytest.approx(np.mean(hits))


def test_the_consensus_surrogate_is_the_best_match_of_the_mean_over_heads():
    keys = torch.tensor([[[1.0]], [[1.0]]])
    first = torch.tensor([0.0, 3, 0, 2])  # the first head's best match is 1, the second's 2, their mean's 3
    second = torch.tensor([0.0, 0, 3, 2])
    q = torch.stack([first, second])[:, None, :, None]
    texts = SlotWeights(torch.ones(1), torch.eye(1), torch.ones(1), torch.eye(1))
    for patch, share in ((0, 0), (1, 0.5), (2, 0.5), (3, 0)):
        place = np.arange(4).reshape(1, 2, 2) == patch
        oracle = OracleSurrogate([place], {0})
        oracle(0, 0, LayerActivations(q, q, keys), texts, None)
        assert oracle.on_object(0, consensus=False) == share
        assert oracle.on_object(0, consensus=True) == (patch == 3)


def test_a_map_of_the_oracle_surrogate_finds_the_planted_object():
    heads, frames, width = 2, 2, 8
    place = np.zeros((frames, 3, 3), bool)
    place[:, 1, 1:] = True
    target, other, back = randn(3, width)
    flat = torch.from_numpy(place.reshape(frames, -1))[None, :, :, None]
    o = torch.where(flat, target, back).expand(heads, -1, -1, -1) + 0.01 * randn(heads, frames, 9, width)
    q = torch.zeros_like(o)  # matches nothing, so every word's surrogate is the first patch, in the background
    q[:, :, 8] = other  # except that of the second word
    keys = torch.stack([0 * other, other]).expand(heads, -1, -1)
    texts = SlotWeights(torch.ones(2), torch.eye(2), torch.ones(2), torch.eye(2))
    oracle = OracleSurrogate([place, None], {0})
    oracle(0, 0, LayerActivations(q, o, keys), texts, None)
    x = oracle.maps()[0].reshape(place.shape)
    assert x[place].min() > x[~place].max() and oracle.on_object(0, consensus=False) == 0
