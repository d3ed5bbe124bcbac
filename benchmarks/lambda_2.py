"""Time and peak memory of lambda_2 of one layer against visual tokens. Each number comes from a new process.

python -m benchmarks.lambda_2            # a narrow layer, up to the 17,550 tokens of the paper

Each iteration is one attention call, so time is quadratic in tokens, and memory is not. `dense_mib` is the size of the
attention matrix of a single head. `low` and `high` are the interval of the exponent of memory.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.memory import held, peak
from benchmarks.record import chosen_device, in_new_process, judged, machine, parser, seconds, write
from imap.methods.spectral import second_eigenvalue

TOKENS = (4_290, 8_775, 17_550)
LIMIT = 1.1  # upper limit of the exponent of memory against tokens


def attention(tokens: int, heads: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys with a high lambda_2: two groups of tokens, each of which attends to itself."""
    generator = torch.Generator().manual_seed(0)
    group = torch.where(torch.arange(tokens) < tokens // 2, 1.0, -1.0)
    q = torch.randn(heads, tokens, width, generator=generator)
    q[..., 0] = 2 * group
    return q.to(device), q.roll(1, dims=1).to(device)


def one(tokens: int, heads: int, width: int, device: torch.device) -> dict[str, float]:
    """lambda_2 of the first head, seconds, and peak memory in MiB without queries and keys."""
    second_eigenvalue(*attention(256, heads, width, device))  # loads code that is loaded on first use
    q, k = attention(tokens, heads, width, device)
    values: list[torch.Tensor] = []
    before = held(device)
    taken = seconds(lambda: values.append(second_eigenvalue(q, k)), device)
    return {
        "lambda_2": round(values[0][0].item(), 4),
        "seconds": round(taken, 2),
        "mib": round(peak(device) - before, 2),
    }


def rows(tokens: Sequence[int], rounds: list[list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Medians over rounds. Exponents are fitted to each round.

    Args:
        tokens: the sizes.
        rounds: results of `one` by round and size.

    Returns:
        A row for each size.
    """
    time, memory = (
        [float(np.polyfit(np.log(tokens), np.log([result[name] for result in once]), 1)[0]) for once in rounds]
        for name in ("seconds", "mib")
    )
    fit = {"exponent_of_time": round(statistics.median(time), 4), **judged(memory, LIMIT, "exponent_of_memory")}
    sizes = zip(tokens, zip(*rounds, strict=True), strict=True)
    return [{"tokens": n, **_median(results), "dense_mib": n * n * 4 // 2**20, **fit} for n, results in sizes]


def _median(results: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(result[name] for result in results), 4) for name in results[0]}


def main() -> None:
    command = parser(__doc__ or "")
    command.add_argument("--heads", type=int, default=2)
    command.add_argument("--width", type=int, default=16)
    command.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    command.add_argument("--one", type=int, help=argparse.SUPPRESS)
    command.set_defaults(repeats=3)
    options = command.parse_args()
    device = chosen_device(options)
    if options.one:
        print(json.dumps(one(options.one, options.heads, options.width, device)))
        return
    rounds = [
        [in_new_process("benchmarks.lambda_2", *sys.argv[1:], "--one", tokens) for tokens in options.tokens]
        for _ in range(options.repeats)
    ]
    about = {"heads": options.heads, "width": options.width, **machine(device)}
    write([row | about for row in rows(options.tokens, rounds)], options.json)


if __name__ == "__main__":
    main()
