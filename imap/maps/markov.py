"""Attention as a Markov chain: the second eigenvalue, by which layers are chosen (METHOD 6, after arXiv 2507.17657)."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def second_eigenvalue(q: Tensor, k: Tensor, tolerance: float = 2e-4, rounds: int = 200) -> Tensor:
    """|lambda_2| of the row-stochastic A = softmax(q k^T / sqrt(d)) of every head, without forming A.

    q, k: (h, n, d). Returns (h,) in float32.

    A 1 = 1, so (I - 1 1^T / n) A has the eigenvalues of A but for one 1, in place of which it has a 0. Orthogonal
    iteration on d columns (one attention call each round, with the columns as values), and the eigenvalues of the
    d x d matrix that it leaves, until the largest stays within `tolerance` for three rounds, or for `rounds` of them.
    """
    q, k = q.float(), k.float()
    heads, tokens, width = q.shape
    columns = min(width, tokens)
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(heads, tokens, columns, generator=generator).to(q.device)
    v = torch.linalg.qr(v - v.mean(dim=1, keepdim=True)).Q
    last, calm = q.new_full((heads,), float("inf")), 0
    for _ in range(rounds):
        moved = _attend(q, k, v)
        moved = moved - moved.mean(dim=1, keepdim=True)
        value = torch.linalg.eigvals(v.mT @ moved).abs().amax(dim=-1)
        calm = calm + 1 if ((value - last).abs() < tolerance / 4).all() else 0
        if calm == 3:
            break
        last = value
        v = torch.linalg.qr(moved).Q
    return value


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # as wide as the keys and in rows: else no fused kernel takes them, and an (n, n) matrix would be formed
    padded = torch.nn.functional.pad(v, (0, q.shape[-1] - v.shape[-1])).contiguous()
    return scaled_dot_product_attention(q[None], k[None], padded[None])[0, ..., : v.shape[-1]]
