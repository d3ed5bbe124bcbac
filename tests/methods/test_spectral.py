"""lambda_2 by iteration is that of the dense matrix; its memory is linear in the tokens."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from imap.methods import spectral
from imap.methods.spectral import second_eigenvalue


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(q, k):
    logits = (q.double() @ k.double().mT / q.shape[-1] ** 0.5).numpy()
    a = np.exp(logits - logits.max(axis=-1, keepdims=True))
    values = np.linalg.eigvals(a / a.sum(axis=-1, keepdims=True))
    return np.sort(np.abs(values), axis=-1)[:, -2]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
def test_random_attention_agrees_with_the_dense_matrix(scale):
    q, k = scale * randn(6, 150, 16), randn(6, 150, 16, seed=1)
    np.testing.assert_allclose(second_eigenvalue(q, k).numpy(), dense(q, k), atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_attention_within_blocks_has_lambda_2_near_one(seed):
    # two groups of tokens that hardly see each other, as frames do in a layer that separates them
    groups = torch.cat([torch.ones(40), -torch.ones(60)])[None, :, None] * torch.eye(16)[0] * 5
    q = groups + 0.5 * randn(3, 100, 16, seed=seed)
    found = second_eigenvalue(q, q)
    np.testing.assert_allclose(found.numpy(), dense(q, q), atol=1e-3)
    assert (found > 0.9).all()


def test_a_rotation_has_complex_eigenvalues_of_which_the_size_counts():
    # every token attends to the next one of a ring, and a little to all
    n = 12
    k = 6 * torch.eye(n)[None]
    q = k.roll(1, dims=2)
    np.testing.assert_allclose(second_eigenvalue(q, k).numpy(), dense(q, k), atol=1e-3)


def test_uniform_attention_forgets_at_once_and_attention_to_oneself_never():
    assert second_eigenvalue(torch.zeros(1, 30, 8), randn(1, 30, 8)).item() == pytest.approx(0, abs=1e-3)
    own = 40 * torch.eye(16)[None]
    assert second_eigenvalue(own, own).item() == pytest.approx(1, abs=1e-3)


def test_a_chain_that_moves_from_neighbour_to_neighbour_is_slow():
    # the logits are -20 (i - j)^2 / 4 on a line of 300 tokens, so that very little goes to a neighbour
    place = torch.linspace(-1, 1, 300)[:, None]
    strength = 1e5 * 16**0.5
    q = torch.nn.functional.pad(torch.cat([2 * place, -torch.ones(300, 1)], 1) * strength, (0, 14))[None]
    k = torch.nn.functional.pad(torch.cat([place, place.square()], 1), (0, 14))[None]
    assert dense(q, k)[0] > 0.99999
    np.testing.assert_allclose(second_eigenvalue(q, k).numpy(), dense(q, k), atol=1e-3)


@pytest.mark.parametrize("seed", [9, 10, 30])
def test_more_eigenvalues_near_one_than_columns_give_at_most_one_and_a_warning(seed, caplog):
    q, k = 6 * randn(6, 300, 16, seed=seed), 6 * randn(6, 300, 16, seed=seed + 1)
    found = second_eigenvalue(q, k)
    assert (found <= 1).all()
    np.testing.assert_allclose(found.numpy(), dense(q, k), atol=5e-3)
    assert "lambda_2 of 1 of 6 heads has not converged in 200 rounds" in caplog.text


def test_heads_that_have_converged_are_left_alone_and_say_nothing(caplog, monkeypatch):
    attended, plain = [], spectral._attend
    monkeypatch.setattr(spectral, "_attend", lambda q, k, v: attended.append(len(q)) or plain(q, k, v))
    q, k = torch.tensor([0.5, 4.0])[:, None, None] * randn(2, 150, 16), randn(2, 150, 16, seed=1)
    found = second_eigenvalue(q, k)
    assert attended[0] == 2 and attended[-1] == 1 and not caplog.text
    for head in (0, 1):
        alone = second_eigenvalue(q[[head]], k[[head]])
        np.testing.assert_allclose(found[[head]], alone, atol=1e-3)


def test_the_same_every_time():
    q, k = randn(2, 64, 8), randn(2, 64, 8, seed=1)
    assert torch.equal(second_eigenvalue(q, k), second_eigenvalue(q, k))


def test_no_matrix_of_tokens_by_tokens_is_formed():
    """The fused kernel is refused for what it cannot take; the plain one would form the matrix."""
    with sdpa_kernel(SDPBackend.MATH):
        expected = second_eigenvalue(randn(2, 300, 16), randn(2, 300, 16, seed=1))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        found = second_eigenvalue(randn(2, 300, 16), randn(2, 300, 16, seed=1))
        # fewer tokens than coordinates, and queries as a block of a model hands them over
        second_eigenvalue(randn(1, 12, 16), randn(1, 12, 16))
        second_eigenvalue(*(randn(40, 2, 8, seed=seed).transpose(0, 1) for seed in (0, 1)))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
