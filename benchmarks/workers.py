"""Clips per minute of `imap renoise` with 1, 2 and 4 processes of one machine (`devices`), as ratios in one run.

python -m benchmarks.workers --clips 48 --repeats 3

Each measurement is a whole command in wall-clock time, with one torch thread per process, so the machine must be idle.
Its first seconds load libraries and the model. The time after that is from the first finished clip of any process to
the last one. The rounds of 1, 2 and 4 processes are taken in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import torch

from benchmarks.latents import CLIPS
from benchmarks.record import in_turn, machine, parser, write
from imap.config.presets import presets
from imap.map_files import META

WORKERS = (1, 2, 4)


def listed(folder: Path, clips: int) -> Path:
    """Write a list of clips of the embedded world, with different words."""
    entries = [
        {
            "caption": f"a ball jumps {n}",
            "concepts": "ball",
            "object": "jumps",
            "video_path": str(CLIPS[n % len(CLIPS)]),
        }
        for n in range(clips)
    ]
    path = folder / "clips.json"
    path.write_text(json.dumps(entries))
    return path


def renoise(listed: Path, out: Path, model: str, workers: int) -> tuple[float, float]:
    """Run the command. Returns its seconds, and those from the first finished clip to the last one."""
    devices = f"[{','.join(['cpu'] * workers)}]" if workers > 1 else "null"
    settings = [
        f"backbone={model}",
        f"input_json={listed}",
        f"output_dir={out}",
        f"devices={devices}",
        "pictures=false",
    ]
    command = [sys.executable, "-m", "imap.cli.main", "renoise", *settings]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    ended = time.perf_counter() - start
    times = sorted(path.stat().st_mtime for path in out.glob(f"*/{META}"))
    return ended, times[-1] - times[0]


def measure(model: str, clips: int, repeats: int) -> list[dict[str, Any]]:
    """A row per number of processes: clips per minute of the command, and after the first clip, with ratios."""
    taken: dict[int, list[tuple[float, float]]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as temporary:
        folder, number = Path(temporary), count()
        path = listed(folder, clips)

        def work(workers: int) -> None:
            taken[workers].append(renoise(path, folder / f"out-{next(number)}", model, workers))

        in_turn([lambda workers=workers: work(workers) for workers in WORKERS], repeats, torch.device("cpu"))
    rows: list[dict[str, Any]] = []
    for workers, rounds in taken.items():
        whole, after = (statistics.median(x) for x in zip(*rounds[1:], strict=True))  # the first one is the warm-up
        row = {"workers": workers, "clips": clips, "per_minute": 60 * clips / whole}
        row |= {"per_minute_after_start": 60 * (clips - 1) / after}
        first = rows[0] if rows else row
        ratios = {f"{name}_ratio": row[name] / first[name] for name in ("per_minute", "per_minute_after_start")}
        rows.append({name: round(value, 3) for name, value in (row | ratios).items()})
    return rows


def main() -> None:
    """Measure and print."""
    command = parser(__doc__ or "")
    command.add_argument("--model", default="shapes_wan", choices=sorted(presets()), help="backbone", metavar="MODEL")
    command.add_argument("--clips", type=int, default=48, help="length of the list")
    command.set_defaults(repeats=3)
    options = command.parse_args()
    cores = len(os.sched_getaffinity(0))
    facts = machine(torch.device("cpu")) | {"device": f"CPU, {cores} cores", "clock": "wall"}
    write(
        [{"model": options.model, **row, **facts} for row in measure(options.model, options.clips, options.repeats)],
        options.json,
    )


if __name__ == "__main__":
    main()
