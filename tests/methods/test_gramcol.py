"""GramCol against the full Gram matrix, in float64 and with loops."""

import pytest
import torch

from imap.methods.gramcol import gram_columns, has_spread, matches, standardized_columns, surrogate_outputs, surrogates

HEADS, FRAMES, PATCHES, WIDTH, TEXTS = 2, 3, 7, 4, 5


@pytest.fixture
def o():
    return torch.randn(HEADS, FRAMES, PATCHES, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def index():
    index = torch.randint(PATCHES, (HEADS, FRAMES, TEXTS), generator=torch.Generator().manual_seed(1))
    assert has_spread(index, torch.ones(TEXTS)).all()
    return index


def plain_columns(o, index):
    """Columns of O_f O_f^T, (h, f, t, p), from the whole matrix."""
    columns = torch.zeros(*index.shape, o.shape[2], dtype=torch.float64)
    for h, f, t in torch.cartesian_prod(*(torch.arange(n) for n in index.shape)):
        gram = o[h, f].double() @ o[h, f].double().T
        columns[h, f, t] = gram[:, index[h, f, t]]
    return columns


def plain_standardized(o, index):
    g = plain_columns(o, index)
    return (g - g.mean(dim=2, keepdim=True)) / (g.std(dim=2, correction=1, keepdim=True) + 1e-6)


def close(x, expected, tolerance=1e-5):
    torch.testing.assert_close(x.double(), expected.double(), rtol=tolerance, atol=tolerance)


def test_the_surrogate_is_the_best_patch_of_its_own_frame_and_the_first_on_ties():
    logits = torch.randn(HEADS, FRAMES, TEXTS, PATCHES, generator=torch.Generator().manual_seed(2))
    logits[1, 1, 2, [3, 5]] = 9.0
    index = surrogates(logits)
    assert index.shape == (HEADS, FRAMES, TEXTS) and index[1, 1, 2] == 3
    for h, f, t in torch.cartesian_prod(torch.arange(HEADS), torch.arange(FRAMES), torch.arange(TEXTS)):
        row = logits[h, f, t].tolist()
        assert index[h, f, t] == row.index(max(row))


def test_matches_are_scalar_products_of_queries_and_keys(o):
    keys = torch.randn(HEADS, TEXTS, WIDTH, generator=torch.Generator().manual_seed(3))
    close(matches(o, keys), torch.einsum("hfpd,htd->hftp", o.double(), keys.double()))


def test_rows_are_means_over_slots_of_the_standardized_columns(o, index):
    rows = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 1, 0]])
    expected = rows.double() @ plain_standardized(o, index)
    close(standardized_columns(o, index, torch.ones(TEXTS), rows), expected)


def test_gram_columns_are_columns_of_the_full_gram_matrix(o, index):
    close(gram_columns(o, surrogate_outputs(o, index)), plain_columns(o, index))


def test_standardization_is_over_the_texts_with_the_unbiased_std(o, index):
    close(standardized_columns(o, index, torch.ones(TEXTS)), plain_standardized(o, index))


def test_the_sum_of_squares_over_texts_is_their_number_less_one(o, index):
    z = standardized_columns(o, index, torch.ones(TEXTS))
    close(z.square().sum(dim=2), torch.full((HEADS, FRAMES, PATCHES), TEXTS - 1.0), 1e-3)


def test_outputs_with_a_large_part_in_common_do_not_cancel(o, index):
    o = o + 100
    close(standardized_columns(o, index, torch.ones(TEXTS)), plain_standardized(o, index), 1e-3)


def test_a_slot_of_multiplicity_m_is_m_repeated_slots(o, index):
    times = [1, 1, 3, 1, 40]
    repeated = index.repeat_interleave(torch.tensor(times), dim=2)
    slots = [sum(times[:t]) for t in range(TEXTS)]
    z = standardized_columns(o, index, torch.tensor(times, dtype=torch.float32))
    close(z, plain_standardized(o, repeated)[:, :, slots])


def test_a_slot_of_weight_0_is_standardized_by_the_others_and_moves_none(o, index):
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    others = [0, 1, 3, 4]
    g = plain_columns(o, index)
    mean, std = g[:, :, others].mean(dim=2), g[:, :, others].std(dim=2)
    z = standardized_columns(o, index, weights)
    close(z[:, :, others], plain_standardized(o, index[:, :, others]))
    close(z[:, :, 2], (g[:, :, 2] - mean) / (std + 1e-6))


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [1, 1, 1, 1, 222], [1, 1, 1, 1, 0]])
def test_where_all_counted_texts_pick_one_surrogate_the_map_is_exactly_0(o, index, weights):
    o = 30 * o + 7.3  # large and not representable: a mean that rounds would be divided by 1e-6
    index[1, 2] = 4
    if weights[-1] == 0:
        index[1, 2, -1] = 5
    z = standardized_columns(o, index, torch.tensor(weights, dtype=torch.float32))
    assert (z[1, 2] == 0).all()
    assert all((z[h, f] != 0).any() for h in range(HEADS) for f in range(FRAMES) if (h, f) != (1, 2))


def test_spread_is_seen_when_only_one_text_differs():
    index = torch.tensor([[[3, 3, 3], [3, 3, 4], [0, 3, 3], [6, 6, 6]]])
    assert has_spread(index, torch.ones(3)).tolist() == [[False, True, True, False]]
    assert has_spread(index, torch.tensor([1.0, 1.0, 0.0])).tolist() == [[False, False, True, False]]
