"""What every benchmark does: work in turn, medians with their intervals, limits, and rows as a table and JSON lines."""

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

# the resident set follows the tensors only if the C library hands back what is freed
FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}


def parser(about: str) -> argparse.ArgumentParser:
    """A command line with what all benchmarks take."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    made.add_argument("--repeats", type=int, default=9)
    made.add_argument("--json", type=Path, help="append the rows to this file")
    return made


def chosen_device(options: argparse.Namespace) -> torch.device:
    """The device of a command line, its threads set."""
    torch.set_num_threads(options.threads)
    return torch.device(options.device)


def machine(device: torch.device) -> dict[str, str]:
    """What was measured on, and which clock; how the C library was told to keep freed memory, where it was."""
    is_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_gpu else f"CPU, {torch.get_num_threads()} threads"
    clock = "wall" if is_gpu else "process"
    malloc = {name.lower(): value for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")}
    return {"device": name, "clock": clock, "torch": torch.__version__, "python": platform.python_version(), **malloc}


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Of one call: the processor time of this process on a CPU, so that other work on the machine does not count; on a
    GPU the time that passes until its work is done."""
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
    """Seconds of each of several works that take turns, `repeats` rounds after one to warm up.

    Every other round goes backwards: what drifts, and what one work leaves to the next, weighs on all of them alike.
    """
    found: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for i in sorted(range(len(works)), reverse=turn % 2 == 1):
            taken = seconds(works[i], device)
            if turn:
                found[i].append(taken)
    return found


def alone(module: str, *arguments: Any) -> Any:
    """What `python -m module arguments` prints last, as JSON: a peak of memory is a process's own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **FREE_AT_ONCE})
    return json.loads(told.stdout.splitlines()[-1])


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """other / one, round by round."""
    return [b / a for a, b in zip(one, other, strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values between which the true median lies with a probability of at least 0.95, whatever the noise.

    With fewer than six values no two do: the smallest and the largest.
    """
    ordered, n = sorted(values), len(values)
    # 2 P(at most k of n fair coins are heads): the true median is beyond the k-th smallest value or its mirror
    beyond = [2 * sum(comb(n, i) for i in range(k + 1)) / 2**n for k in range((n + 1) // 2)]
    k = max((k for k, probability in enumerate(beyond) if probability <= 0.05), default=0)
    return ordered[k], ordered[n - 1 - k]


def judged(values: Sequence[float], limit: float | None, name: str = "ratio") -> dict[str, Any]:
    """Median with its interval, and whether the whole interval is at most a limit (None: there is none)."""
    low, high = interval(values)
    within = None if limit is None else high <= limit + 1e-9  # 0.07 - 0.05 is a little more than 0.02
    found = {name: round(statistics.median(values), 4), "low": round(low, 4), "high": round(high, 4)}
    return {**found, "limit": limit, "met": within}


def write(rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Print rows of the same keys as a table, and append them to a file where one is named."""
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
