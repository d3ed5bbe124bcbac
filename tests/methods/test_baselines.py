"""The baselines, with one slot in the place of many equal texts."""

import pytest
import torch

from imap.methods.concept_attention import concept_attention
from imap.methods.cross_attention import text_softmax

HEADS, WIDTH = 2, 4


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(x, expected, tolerance=1e-6):
    torch.testing.assert_close(x.double(), expected.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_text_softmax_of_single_texts_is_softmax(dim):
    x = randn(4, 4, 4)
    close(text_softmax(x, torch.ones(4), dim), x.double().softmax(dim))


def test_a_text_of_multiplicity_m_is_m_repeated_texts_under_the_softmax():
    x, times = 5 * randn(3, 4, 6), torch.tensor([1, 2, 1, 509])
    repeated = x.double().repeat_interleave(times, dim=1).softmax(dim=1)
    close(text_softmax(x, times.float(), dim=1), repeated[:, [0, 1, 3, 4]])


def test_a_text_of_weight_0_takes_no_part_in_the_softmax_and_is_one_text_more_itself():
    x = randn(3, 4, 6)
    x[:, 2] += 10  # would take the whole sum
    others = [0, 1, 3]
    got = text_softmax(x, torch.tensor([1.0, 1.0, 0.0, 1.0]), dim=1)
    close(got[:, others], x[:, others].double().softmax(dim=1))
    close(got[:, 2], x.double().softmax(dim=1)[:, 2])


def test_softmax_of_large_logits_is_finite_and_at_most_1():
    x = 1000 * randn(1, 5, 30)
    assert (x[:, 4] > x[:, :4].amax(dim=1)).any()  # where the text of weight 0 is the largest
    got = text_softmax(x, torch.tensor([1.0, 1.0, 200.0, 1.0, 0.0]), dim=1)
    assert got.isfinite().all() and got.max() <= 1


def test_concept_attention_sums_inner_products_over_heads():
    c, o = randn(HEADS, 3, WIDTH), randn(HEADS, 2, 5, WIDTH, seed=1)
    expected = torch.zeros(2, 3, 5, dtype=torch.float64)
    for h in range(HEADS):
        for f in range(2):
            for t in range(3):
                for p in range(5):
                    expected[f, t, p] += c[h, t].double() @ o[h, f, p].double()
    close(concept_attention(c, o), expected)
