"""lambda_2, the second eigenvalue of attention as a Markov chain (docs/method.md, 6, after arXiv 2507.17657)."""

import logging

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

log = logging.getLogger("imap")


def second_eigenvalue(q: Tensor, k: Tensor, tolerance: float = 1e-3, rounds: int = 200) -> Tensor:
    """|lambda_2| of the row-stochastic A = softmax(q k^T / sqrt(d)) of every head, without forming A.

    q, k: (h, n, d). Returns (h,) in float32, at most 1.

    A 1 = 1, so M = (I - 1 1^T / n) A has the eigenvalues of A, with one 1 replaced by 0. Orthogonal iteration runs on d
    columns, one attention call per round with the columns as values. A head stops when its largest eigenpair fits,
    |M x - lambda x| <= `tolerance` for |x| = 1, and its value has stopped moving. Both are needed, because M is not
    symmetric. A head that has not converged within `rounds` keeps its last value, and a warning counts these heads.
    """
    q, k = q.float(), k.float()
    heads, tokens, width = q.shape
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(heads, tokens, min(width, tokens), generator=generator).to(q.device)
    v = torch.linalg.qr(v - v.mean(dim=1, keepdim=True)).Q
    found, left = q.new_full((heads,), torch.inf), torch.arange(heads, device=q.device)
    for _ in range(rounds):
        moved = _attend(q, k, v)
        moved = moved - moved.mean(dim=1, keepdim=True)
        value, residual = _largest(v, moved)
        slow = (residual > tolerance) | ((value - found[left]).abs() > tolerance / 10)
        found[left] = value
        if not slow.any():
            break
        left, q, k = left[slow], q[slow], k[slow]
        v = torch.linalg.qr(moved[slow]).Q
    else:
        log.warning(
            "lambda_2 of %d of %d heads has not converged in %d rounds (a residual of %.1g is left)",
            len(left),
            heads,
            rounds,
            residual.max(),
        )
    return found.clamp(max=1)


def _largest(v: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude of the largest eigenvalue of M within orthonormal columns v (h, n, c), and |M x - lambda x| of its unit
    vector x, (h,) each. moved: M v."""
    # on the host, which is faster than a GPU for matrices this small
    values, vectors = (x.to(v.device) for x in torch.linalg.eig((v.mT @ moved).cpu()))
    rows, best = torch.arange(len(v), device=v.device), values.abs().argmax(dim=-1)
    value, x = values[rows, best], vectors[rows, :, best, None]
    image, own = (torch.complex(y @ x.real, y @ x.imag)[..., 0] for y in (moved, v))
    return value.abs(), torch.linalg.vector_norm(image - value[:, None] * own, dim=-1)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # same width as the keys, contiguous: otherwise no fused kernel applies and an (n, n) matrix is formed
    padded = torch.nn.functional.pad(v, (0, q.shape[-1] - v.shape[-1])).contiguous()
    return scaled_dot_product_attention(q[None], k[None], padded[None])[0, ..., : v.shape[-1]]
