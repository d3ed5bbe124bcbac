"""Seconds by stage of renoising a list of real clips, as `imap renoise` does, and clips per hour.

python -m benchmarks.clip --model tiny_cogvideox --clip clip.mp4 --clips 3

The text encoder is small, every clip has different words, and no pictures are drawn. Seconds are means over clips.
`forward` is the transformer alone. `maps` is the time that the trace adds to it, with the copy of maps to the CPU.
`other` is the rest. On a GPU, seconds are wall-clock time; a background thread decodes the next clip, so decoding has
no share of the total. On a CPU, seconds are processor time of one torch thread, decoding included; `other` is then
mostly the threads of the video codec.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks.models import add_model, chosen_size, open_pipeline, tokens
from benchmarks.overhead import TraceCase, trace_settings
from benchmarks.record import chosen_device, in_turn, machine, parser, seconds, write
from benchmarks.words import PROMPT
from imap.config.presets import presets
from imap.config.run import Run
from imap.config.samples import make_sample, numbered
from imap.map_files import read_meta
from imap.media.clips import Fit
from imap.runs.batch import Tally, Task
from imap.runs.request import request
from imap.runs.runner import do_tasks

OVERLAPPED = "decode_clip"
STAGES = (OVERLAPPED, "encode_clip", "encode_text", "denoise", "finish", "maps", "write")


def list_of(clip: Path, count: int, run: Run) -> list[Task]:
    """The same clip `count` times, with different words each time."""
    samples = [make_sample(f"{PROMPT} Take {n}.", "rider, horse, field", "gallops", clip, "st") for n in range(count)]
    return [Task(name, sample, request(sample, run.recorded())) for name, sample in numbered(samples)]


def run_of(paper: dict[str, Any], size: dict[str, int], folder: Path) -> Run:
    """The paper's settings of renoising. The clip is resampled to the size."""
    return Run(
        output_dir=folder,
        seed=42,
        num_inference_steps=paper["num_inference_steps"],
        guidance_scale=paper["guidance_scale"],
        negative_prompt="",
        height=size["height"],
        width=size["width"],
        num_frames=size["num_frames"],
        fps=8,
        method=trace_settings(TraceCase(target=paper["imap_qk_matching_target"]), paper),
        renoise_timestep=tuple(paper["renoise_timestep"]),
        fit=Fit(size["height"], size["width"], size["num_frames"], resize="crop", frames="uniform"),
    )


def measure(
    pipe: Any,
    paper: dict[str, Any],
    size: dict[str, int],
    clip: Path,
    count: int,
    repeats: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Renoise a list of clips and time its stages.

    Args:
        pipe: the diffusers pipeline.
        paper: the paper's settings for its family.
        size: height, width and num_frames that the clip is resampled to.
        clip: a video file.
        count: length of the list.
        repeats: how often the transformer alone is timed.
        device: where the pipeline is.

    Returns:
        A row for each stage, and one for all.

    Raises:
        RuntimeError: A clip failed.
    """
    calls: list[tuple[tuple, dict]] = []
    is_cpu = device.type == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        _do(pipe, run_of(paper, size, Path(folder) / "warm"), clip, 1, device)
        handle = pipe.transformer.register_forward_pre_hook(partial(_keep, calls), with_kwargs=True)
        try:
            # processor time of the thread: that of the process would include decoding of the next clip
            with patch("time.perf_counter", time.thread_time) if is_cpu else nullcontext():
                taken, stages = _do(pipe, run_of(paper, size, Path(folder) / "list"), clip, count, device)
        finally:
            handle.remove()
    args, kwargs = calls[0]
    with torch.no_grad():
        (forwards,) = in_turn([partial(pipe.transformer, *args, **kwargs)], repeats, device)
    mean = {name: statistics.fmean(one.get(name, 0.0) for one in stages) for name in STAGES}
    whole, per_clip = taken / count, len(calls) / count
    other = whole - sum(x for name, x in mean.items() if is_cpu or name != OVERLAPPED)
    forward = per_clip * statistics.median(forwards)
    maps = mean.pop("denoise") - forward + mean.pop("maps")
    mean |= {"forward": forward, "maps": maps, "other": other, "all": whole}
    about = {
        **size,
        "tokens": tokens(size),
        "clips": count,
        "forwards_per_clip": per_clip,
        "clips_per_hour": round(3600 / whole, 1),
    }
    return [
        {
            "stage": name,
            "seconds": round(x, 4),
            "share": round(x / whole, 4) if is_cpu or name != OVERLAPPED else None,
            **about,
        }
        for name, x in mean.items()
    ]


def _do(pipe: Any, run: Run, clip: Path, count: int, device: torch.device) -> tuple[float, Sequence[dict[str, float]]]:
    """Seconds of a list, and of the stages of each of its clips."""
    run.output_dir.mkdir(parents=True)
    tasks, tally = list_of(clip, count, run), Tally()
    taken = seconds(lambda: do_tasks(pipe, tasks, run, True, tally, {"fps": run.fps, "device": str(device)}), device)
    if tally.failed:
        raise RuntimeError(f"{tally.failed[0]} failed: {(run.output_dir / 'errors.jsonl').read_text()}")
    return taken, [(read_meta(run.output_dir / task.name) or {})["seconds"] for task in tasks]


def _keep(calls: list[tuple[tuple, dict]], module: nn.Module, args: tuple, kwargs: dict) -> None:
    calls.append((args, kwargs))


def main() -> None:
    command = parser(__doc__ or "")
    add_model(command)
    command.add_argument("--clip", type=Path, required=True, help="a video file; it is resampled to the size")
    command.add_argument("--clips", type=int, default=5, help="length of the list")
    command.set_defaults(repeats=3)
    options = command.parse_args()
    if options.threads > 1 and torch.device(options.device).type == "cpu":
        command.error(
            f"--threads {options.threads}: expected 1 on a CPU, where a stage is timed on the main thread, so other "
            "threads of torch would not be counted; remove --threads"
        )
    logging.getLogger("imap").setLevel(logging.ERROR)
    device, paper = chosen_device(options), presets()[options.model].paper
    rows = measure(
        open_pipeline(options.model, device),
        paper,
        chosen_size(options),
        options.clip,
        options.clips,
        options.repeats,
        device,
    )
    write([{"model": options.model, **row, **machine(device)} for row in rows], options.json)


if __name__ == "__main__":
    main()
