"""Common to all benchmarks: timing in turn, medians with intervals, limits, rows as a table and as JSON lines."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from math import comb
from pathlib import Path
from typing import Any

import torch

# the resident set follows the tensors only if the C library returns freed memory to the system
FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}


def parser(about: str) -> argparse.ArgumentParser:
    """A command line with the options of all benchmarks."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, default=1, help="threads of torch on a CPU")
    made.add_argument("--repeats", type=int, default=9)
    made.add_argument("--json", type=Path, help="append the rows to this file")
    return made


def chosen_device(options: argparse.Namespace) -> torch.device:
    """The device of a command line. Sets the number of threads."""
    torch.set_num_threads(options.threads)
    return torch.device(options.device)


def machine(device: torch.device) -> dict[str, str]:
    """Device, clock and versions of a measurement, and settings of the C library for freed memory, if any."""
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else f"CPU, {torch.get_num_threads()} threads"
    clock = "wall" if is_gpu else "process"
    malloc = {name.lower(): value for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")}
    return {"device": name, "clock": clock, "torch": torch.__version__, "python": platform.python_version(), **malloc}


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call.

    On a CPU, processor time of this process, so other processes do not count. On a GPU, wall-clock time until its work
    is done.
    """
    if device.type != "cuda":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def in_turn(works: Sequence[Callable[[], Any]], repeats: int, device: torch.device) -> list[list[float]]:
    """Time several functions in turn.

    Every other round runs in reverse order, so drift and after-effects of the previous function are shared equally.

    Args:
        works: the functions.
        repeats: rounds, after one round of warm-up.
        device: where they compute.

    Returns:
        Seconds by function and round.
    """
    times: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for i in sorted(range(len(works)), reverse=turn % 2 == 1):
            taken = seconds(works[i], device)
            if turn:
                times[i].append(taken)
    return times


def in_new_process(module: str, *arguments: Any) -> Any:
    """Run `python -m module arguments`, and return its last line, parsed as JSON."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **FREE_AT_ONCE})
    return json.loads(ended.stdout.splitlines()[-1])


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """other / one, round by round."""
    return [b / a for a, b in zip(one, other, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values that enclose the true median with a probability of at least 0.95, for any distribution.

    With fewer than six values there are no such two; then the smallest and the largest.
    """
    ordered, n = sorted(values), len(values)
    # by k, the probability that the true median is outside ordered[k] .. ordered[n - 1 - k]: 2 P(Binomial(n, 1/2) <= k)
    beyond = [2 * sum(comb(n, i) for i in range(k + 1)) / 2**n for k in range((n + 1) // 2)]
    k = max((k for k, probability in enumerate(beyond) if probability <= 0.05), default=0)
    return ordered[k], ordered[n - 1 - k]


def judged(values: Sequence[float], limit: float | None, name: str = "ratio") -> dict[str, Any]:
    """Median with its interval, compared with a limit.

    Args:
        values: of all rounds.
        limit: upper limit, or None.
        name: key of the median.

    Returns:
        The median as `name`, `low`, `high`, `limit`, and `met`: whether the whole interval is within the limit.
    """
    low, high = interval(values)
    within = None if limit is None else high <= limit + 1e-9  # in floats, 0.07 - 0.05 is slightly more than 0.02
    summary = {name: round(statistics.median(values), 4), "low": round(low, 4), "high": round(high, 4)}
    return {**summary, "limit": limit, "met": within}


def write(rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Print rows with equal keys as a table, and append them to a file if `path` is given."""
    keys = list(rows[0])
    cells = [keys, *([_text(row[key]) for key in keys] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
