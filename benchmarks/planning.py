"""Seconds to plan a long list, and bookkeeping per sample: all that a run does beside the model and its files.

Three lists are planned: prompts of which none is done, the same prompts when all are done, and entries that share a few
clips. The samples are finished by `run_tasks` with a work function that does nothing. Its bookkeeping is the time of a
run less that in which videos and arrays are written: claims, look-ups, folders, records and the log.

python -m benchmarks.planning                  # 10,000 entries
python -m benchmarks.planning --entries 1000
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import imap.map_files
import imap.runs.batch
from benchmarks.record import chosen_device, machine, parser, write
from imap.config.presets import config_folder
from imap.config.samples import Sample
from imap.jobs.output import Output
from imap.media.video_io import write_video
from imap.runs.batch import run_tasks
from imap.runs.plan import Plan, plan
from imap.saliency import Maps

CLIPS = 4
FRAMES, HEIGHT, WIDTH = 9, 32, 48
SETTINGS = [f"height={HEIGHT}", f"width={WIDTH}", f"num_frames={FRAMES}", "pictures=false"]
THINGS, VERBS = ("ball", "dog", "kite", "box", "horse"), ("rolls", "jumps", "grows", "spins")
LIMIT_PLAN, LIMIT_SAMPLE = 10.0, 0.02  # seconds for 10,000 entries, and for a sample


def entries(count: int, clips: int = 0, folder: Path | None = None) -> list[dict[str, str]]:
    """Entries of a list, with different prompts. clips: how many files in `folder` they share."""
    made = []
    for i in range(count):
        thing, verb = THINGS[i % len(THINGS)], VERBS[i // 5 % len(VERBS)]
        made.append({"caption": f"A {thing} {verb} past house {i}.", "concepts": f"{thing}, house", "object": verb})
        if folder is not None:
            made[-1]["video_path"] = str(folder / f"clip-{i % clips}.mp4")
    return made


def configuration(name: str, backbone: str, listed: Path, out: Path) -> dict[str, Any]:
    """Plain values of a composed configuration. name: sampling or renoising."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose(name, [*SETTINGS, f"backbone={backbone}", f"input_json={listed}", f"output_dir={out}"])
    values: Any = OmegaConf.to_container(config, resolve=True)
    return values


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the seconds of processor time that it took: other processes do not count."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def finish(todo: Plan) -> float:
    """Finish all samples of a plan without a model. Returns seconds of bookkeeping for a sample."""
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    array = np.zeros((3, 3, 2, 3), np.float32)
    files = [0.0]

    def work(sample: Sample) -> Output:
        texts = (*sample.concepts, *sample.motions)
        maps = Maps({"imap": array, "imap_layers": array}, texts, frozenset(sample.motions), {}, {}, {})
        return Output(frames, maps, {"video": "sampled", "seconds": {"denoise": 0.0}})

    def counted(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            files[0] += timed(lambda: function(*arguments))[1]

        return call

    facts: Mapping[str, Any] = {"fps": 8, "device": "cpu", "offload": "none"}
    with ExitStack() as patches:
        for module, name in ((imap.runs.batch, "write_video"), (imap.map_files, "write_arrays")):
            patches.enter_context(patch.object(module, name, counted(getattr(module, name))))
        _, taken = timed(lambda: run_tasks(todo.tasks, todo.run.output_dir, work, todo.tally, facts))
    return (taken - files[0]) / len(todo.tasks)


def measure(count: int, backbone: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of all measurements, at lists of `count` entries. folder: empty."""
    for i in range(CLIPS):
        write_video(folder / f"clip-{i}.mp4", np.full((FRAMES, HEIGHT, WIDTH, 3), 40 + i, np.uint8), 8)
    prompts, clips = folder / "prompts.json", folder / "clips.json"
    prompts.write_text(json.dumps(entries(count)))
    clips.write_text(json.dumps(entries(count, CLIPS, folder)))
    sampling = configuration("sampling", backbone, prompts, folder / "sampling")
    renoising = configuration("renoising", backbone, clips, folder / "renoising")
    plan(configuration("sampling", backbone, prompts, folder / "warm"), False)  # loads modules and the tokenizer
    fresh, seconds = timed(lambda: plan(sampling, False))
    rows = [row("plan: prompts, none done", count, seconds, LIMIT_PLAN)]
    rows.append(row("plan: shared clips, none done", count, timed(lambda: plan(renoising, True))[1], LIMIT_PLAN))
    rows.append(row("bookkeeping of a sample", count, finish(fresh), LIMIT_SAMPLE))
    again, seconds = timed(lambda: plan(sampling, False))
    if again.tasks or len(again.tally.skipped) != count:
        raise RuntimeError(f"of {count} finished samples, {len(again.tally.skipped)} are found")
    return [*rows, row("plan: prompts, all done", count, seconds, LIMIT_PLAN)]


def row(name: str, count: int, seconds: float, limit: float) -> dict[str, Any]:
    """One measurement."""
    return {"measured": name, "entries": count, "seconds": round(seconds, 4), "limit": limit, "met": seconds <= limit}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--entries", type=int, default=10_000)
    options.add_argument("--backbone", default="shapes_wan")
    given = options.parse_args()
    facts = machine(chosen_device(given))
    logging.getLogger("imap").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given.entries, given.backbone, Path(folder))
    write([one | facts for one in rows], given.json)


if __name__ == "__main__":
    main()
