"""The motion-head scores are scikit-learn's, also where float32 or a degenerate clustering could make them differ."""

import numpy as np
import pytest
import torch
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from imap.methods import motion_heads
from imap.methods.motion_heads import SCORES, select_motion_heads


def sklearn_silhouette(x: np.ndarray, labels: np.ndarray) -> float:
    return silhouette_score(x, labels, sample_size=motion_heads.SILHOUETTE_SAMPLE, random_state=0)


def plain_fisher(x: np.ndarray, labels: np.ndarray) -> float:
    frames = [x[labels == frame] for frame in np.unique(labels)]
    means = np.array([tokens.mean(axis=0) for tokens in frames])
    within = sum(((tokens - mean) ** 2).sum() for tokens, mean in zip(frames, means, strict=True))
    return len(frames[0]) * ((means - x.mean(axis=0)) ** 2).sum() / within


ORACLES = {
    "CHI": calinski_harabasz_score,
    "DBI": davies_bouldin_score,
    "Silhouette": sklearn_silhouette,
    "Fisher": plain_fisher,
}
every_score = pytest.mark.parametrize("name", SCORES)


def outputs(heads: int, frames: int, patches: int, width: int, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Head outputs whose frames lie apart, further in each head than in the one before."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(heads, frames, 1, width, generator=generator) * torch.arange(heads).view(-1, 1, 1, 1)
    return centres + spread * torch.randn(heads, frames, patches, width, generator=generator)


def expected(name: str, o: torch.Tensor) -> np.ndarray:
    labels = np.repeat(np.arange(o.shape[1]), o.shape[2])
    return np.array([ORACLES[name](head.flatten(0, 1).double().numpy(), labels) for head in o])


def assert_like_oracle(name: str, o: torch.Tensor, rtol: float = 1e-5) -> None:
    got = SCORES[name].function(o)
    assert got.shape == (len(o),) and got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected(name, o), rtol=rtol, atol=1e-6)


@every_score
def test_a_score_is_the_oracles(name):
    assert_like_oracle(name, outputs(heads=4, frames=5, patches=7, width=6))


@pytest.mark.slow
@every_score
def test_more_tokens_than_the_silhouettes_sample(name):
    o = outputs(heads=2, frames=7, patches=800, width=4)
    assert o[0].flatten(0, 1).shape[0] > motion_heads.SILHOUETTE_SAMPLE
    assert_like_oracle(name, o)


@pytest.fixture
def _small_sample(monkeypatch):
    monkeypatch.setattr(motion_heads, "SILHOUETTE_SAMPLE", 12)
    monkeypatch.setattr(motion_heads, "ROWS_AT_ONCE", 5)
    motion_heads._sample.cache_clear()
    yield
    motion_heads._sample.cache_clear()


@pytest.mark.usefixtures("_small_sample")
def test_frames_with_one_token_or_none_in_the_silhouettes_sample():
    o = outputs(heads=3, frames=10, patches=3, width=4)
    sampled = np.random.RandomState(0).permutation(30)[:12] // 3
    assert {0, 1} <= set(np.bincount(sampled, minlength=10))  # that is what this test is about
    assert_like_oracle("Silhouette", o)


@every_score
def test_a_large_common_offset_does_not_cancel_the_differences(name):
    assert_like_oracle(name, outputs(heads=3, frames=4, patches=50, width=5) + 3000, rtol=2e-3)


@every_score
def test_scatter_far_below_the_frames_distances_does_not_cancel(name):
    o = outputs(heads=3, frames=4, patches=50, width=5, spread=1e-2)[1:]
    assert_like_oracle(name, o, rtol=1e-4)


@every_score
def test_tokens_that_equal_their_frames_mean_divide_nothing_by_zero(name):
    o = torch.tensor([0.0, 1.0, 4.0]).view(1, 3, 1, 1).expand(2, 3, 6, 4).clone()
    if name == "Fisher":
        assert SCORES[name].function(o).tolist() == [0, 0]  # scikit-learn has no Fisher ratio to agree with
    else:
        assert_like_oracle(name, o)


@every_score
def test_tokens_that_are_all_equal_divide_nothing_by_zero(name):
    o = torch.full((1, 3, 6, 4), 2.0)
    if name == "Fisher":
        assert SCORES[name].function(o).tolist() == [0]
    else:
        assert_like_oracle(name, o)


def test_two_frames_with_the_same_mean_are_no_infinite_davies_bouldin_index():
    around = torch.tensor([-1.0, 1.0]).view(1, 1, 2, 1)
    o = torch.tensor([0.0, 0.0, 8.0]).view(1, 3, 1, 1) + around * torch.tensor([1.0, 2.0, 1.0]).view(1, 3, 1, 1)
    assert_like_oracle("DBI", o)


@pytest.mark.parametrize(
    ("name", "topk", "kept"),
    [
        ("CHI", 1, [1]),
        ("CHI", 2, [1, 3]),
        ("CHI", 4, [0, 1, 2, 3]),
        ("DBI", 1, [0]),
        ("DBI", 2, [0, 2]),
    ],
)
def test_topk_keeps_the_best_heads_of_a_score_that_is_better_high_or_low(name, topk, kept):
    chosen = select_motion_heads(torch.tensor([1.0, 40.0, 2.0, 30.0]), SCORES[name], topk)
    assert chosen.dtype == torch.float32 and chosen.nonzero().flatten().tolist() == kept and chosen.max() == 1


@pytest.mark.parametrize(
    ("name", "values", "kept"),
    [
        ("CHI", [99.0, 100.0, 101.0], [2]),
        ("DBI", [9.0, 10.0, 11.0], [0]),
        ("Silhouette", [-0.5, 0.05, 0.2], [2]),
        ("Fisher", [0.2, 0.4, 0.5], [1, 2]),
        ("CHI", [1.0, 2.0, 3.0], []),
        ("DBI", [11.0, 12.0, 13.0], []),
    ],
)
def test_topk_of_minus_1_keeps_heads_strictly_beyond_the_releases_threshold(name, values, kept):
    assert select_motion_heads(torch.tensor(values), SCORES[name], -1).nonzero().flatten().tolist() == kept
