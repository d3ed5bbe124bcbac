"""Seconds of renoising a list of clips with kept VAE encodings (`cache_latents`), as ratios in one run.

python -m benchmarks.latents --clips 4 --repeats 3

The clips and the model are those of the embedded world. The rounds of the three ways are taken in turn: without a
cache, with an empty one, and with a full one. Seconds are processor time of one torch thread.
"""

import logging
import statistics
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import torch

import imap
from benchmarks.clip import run_of
from benchmarks.record import in_turn, machine, parser, write
from imap.backbones import backbone_of
from imap.config.presets import presets
from imap.config.run import Run
from imap.config.samples import make_sample, numbered
from imap.jobs.posterior_cache import PosteriorCache
from imap.runs.batch import Tally, Task
from imap.runs.request import request
from imap.runs.runner import do_tasks

WAYS = ("without", "empty", "full")
CLIPS = sorted((Path(imap.__file__).parent / "shapes/clips").glob("*.mp4"))


def tasks_of(clips: int, run: Run) -> list[Task]:
    samples = [make_sample(f"a ball jumps {n}", "ball", "jumps", CLIPS[n % len(CLIPS)], "st") for n in range(clips)]
    return [Task(name, sample, request(sample, run.recorded())) for name, sample in numbered(samples)]


def measure(pipe: Any, paper: dict[str, Any], clips: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each way: median seconds of a clip, and the ratio to renoising without a cache."""
    size = {name: paper[name] for name in ("height", "width", "num_frames")}
    with tempfile.TemporaryDirectory() as folder:
        rounds, full = count(), PosteriorCache(Path(folder) / "full", backbone_of(pipe))

        def renoise(way: str) -> None:
            number = next(rounds)
            run = run_of(paper, size, Path(folder) / f"out-{number}")
            run.output_dir.mkdir()
            empty = PosteriorCache(Path(folder) / f"cache-{number}", backbone_of(pipe)) if way == "empty" else None
            tally = Tally()
            cache = full if way == "full" else empty
            do_tasks(pipe, tasks_of(clips, run), run, True, tally, {"fps": run.fps, "device": "cpu"}, cache=cache)
            if tally.failed:
                raise RuntimeError((run.output_dir / "errors.jsonl").read_text())

        times = in_turn([lambda way=way: renoise(way) for way in WAYS], repeats, torch.device("cpu"))
        held = sum(path.stat().st_size for path in full.folder.iterdir()) / len(list(full.folder.iterdir()))
    medians = [statistics.median(rounds) / clips for rounds in times]
    return [
        {"cache": way, "seconds": round(x, 4), "ratio": round(x / medians[0], 3), "bytes": int(held), **size}
        for way, x in zip(WAYS, medians, strict=True)
    ]


def main() -> None:
    command = parser(__doc__ or "")
    command.add_argument("--model", default="shapes_wan", help="a model of the embedded world")
    command.add_argument("--clips", type=int, default=4, help="length of the list")
    command.set_defaults(repeats=3)
    options = command.parse_args()
    logging.getLogger("imap").setLevel(logging.ERROR)
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(imap.demo_model(options.model.removeprefix("shapes_")))
    pipe.set_progress_bar_config(disable=True)
    rows = measure(pipe, presets()[options.model].paper, options.clips, options.repeats)
    write([{"model": options.model, **row, **machine(torch.device("cpu"))} for row in rows], options.json)


if __name__ == "__main__":
    main()
