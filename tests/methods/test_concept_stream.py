"""The concept tokens' attention, with one slot in the place of many equal ones."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from imap.methods import chunking
from imap.methods.concept_stream import concept_head_outputs

HEADS, TOKENS, WIDTH = 3, 11, 4


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(x, expected, tolerance=1e-6):
    torch.testing.assert_close(x.double(), expected.double(), rtol=tolerance, atol=tolerance)


def concepts(slots):
    q, k, v = (randn(HEADS, slots, WIDTH, seed=seed) for seed in (2, 3, 4))
    return q, k, v, randn(HEADS, TOKENS, WIDTH, seed=5), randn(HEADS, TOKENS, WIDTH, seed=6)


@pytest.mark.parametrize("working_set", [0, 96 * 2**20], ids=["head-by-head", "all-heads"])
@pytest.mark.parametrize("padding", [1, 2, 223])
def test_one_padded_slot_attends_and_is_attended_to_like_all_of_them(monkeypatch, padding, working_set):
    monkeypatch.setattr(chunking, "working_set", lambda device: working_set)
    q, k, v, visual_k, visual_v = concepts(4)
    got = concept_head_outputs(q, k, v, torch.tensor([1.0, 1.0, 1.0, padding]), visual_k, visual_v)

    def padded(x):
        return torch.cat([x, x[:, -1:].expand(-1, padding - 1, -1)], dim=1)

    keys, values = torch.cat([padded(k), visual_k], dim=1), torch.cat([padded(v), visual_v], dim=1)
    expected = scaled_dot_product_attention(*(x.double() for x in (padded(q), keys, values)))
    close(got, expected[:, :4])
    close(expected[:, 3:], expected[:, 3:4].expand_as(expected[:, 3:]))  # the padded slots stay equal


def test_a_concept_slot_of_weight_0_is_not_attended_to():
    q, k, v, visual_k, visual_v = concepts(4)
    got = concept_head_outputs(q, k, v, torch.tensor([1.0, 1.0, 1.0, 0.0]), visual_k, visual_v)
    keys, values = torch.cat([k[:, :3], visual_k], dim=1), torch.cat([v[:, :3], visual_v], dim=1)
    close(got, scaled_dot_product_attention(*(x.double() for x in (q, keys, values))))


def test_half_precision_concepts_are_attended_in_float32():
    half = [x.bfloat16() for x in concepts(4)]
    q, k, v, visual_k, visual_v = half
    weights = torch.tensor([1.0, 1.0, 1.0, 200.0])
    got = concept_head_outputs(q, k, v, weights, visual_k, visual_v)
    q, k, v, visual_k, visual_v = (x.double() for x in half)
    assert got.dtype == torch.float32
    close(got, concept_head_outputs(q, k, v, weights, visual_k, visual_v))
