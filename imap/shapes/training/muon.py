"""Muon: momentum with orthogonalized updates, for the matrices of attention and feed-forward.

torch.optim.Muon rounds to bfloat16. On a CPU without bfloat16 that takes a second per step. This version uses float32.
Source: K. Jordan et al., Muon, 2024, https://kellerjordan.github.io/posts/muon
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # moves singular values towards one
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalized Nesterov momentum for matrices, with decoupled weight decay as in AdamW."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Update the weights once.

        Raises:
            TypeError: A closure is given.
        """
        if closure is not None:
            raise TypeError("Muon takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                mean = state["momentum"]
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(mean, group["momentum"]))
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """Move the singular values of a matrix (m, n) near one, to the range 0.7 to 1.2.

    Singular values below a hundredth of the matrix norm stay smaller.
    """
    a, b, c = QUINTIC
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x
