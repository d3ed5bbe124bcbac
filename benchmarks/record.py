"""What every benchmark does with its rows: prints them as a table, and adds them to a JSON-lines file."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch


def parser(about: str) -> argparse.ArgumentParser:
    """A command line with what all benchmarks take."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, help="of torch on a CPU")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--json", type=Path, help="append the rows to this file")
    return made


def machine(device: torch.device) -> dict[str, str]:
    """What was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def in_turn(works: Sequence[Callable[[], Any]], repeats: int, device: torch.device) -> list[list[float]]:
    """Seconds of each of several works that take turns, `repeats` rounds after one to warm up."""
    rounds = [[seconds(work, device) for work in works] for _ in range(repeats + 1)][1:]
    return [list(own) for own in zip(*rounds, strict=True)]


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median of the ratios of neighbours in time."""
    return statistics.median(b / a for a, b in zip(one, other, strict=True))


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
            file.writelines(json.dumps(row) + "\n" for row in rows)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
