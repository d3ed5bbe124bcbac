"""The forecast of `dry_run=true`: what is left to do, and the passes, disk, memory and time that it takes."""

import logging
import shutil
from math import ceil
from typing import Any

from imap.runs.earlier import like_samples, mean_bytes, mean_seconds
from imap.runs.plan import Plan, recorded_settings
from imap.runs.run_record import device_name, write_json
from imap.runs.status import duration
from imap.runs.weights import free_bytes, weights_of
from imap.runs.work import map_bytes, passes, steps_of, words_of

log = logging.getLogger("imap")
PLAN = "plan.json"
VIDEO = 0.1  # bytes of output.mp4 a pixel and frame, where no sample is finished: more than most videos take
RECORD = 40  # bytes of meta.json a head, layer and step, likewise
PICTURES = 4 * 2**20  # bytes of a word's pictures, likewise
UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def write_forecast(todo: Plan, renoising: bool) -> None:
    """Log the forecast of a plan, and write it as plan.json. Nothing else is written.

    Args:
        todo: a plan of a dry run.
        renoising: `imap renoise`, not `imap sample`.

    Raises:
        ImapError: if plan.json cannot be written.
    """
    record = forecast(todo, renoising)
    path = todo.run.output_dir / PLAN
    write_json(path, record)
    for one in record["problems"]:
        log.error("entry %d, %s: %s", one["entry"], one["sample"], one["reason"])
    for line in lines(record):
        log.info("%s", line)
    disk, memory = record["disk"], record["memory"]
    if disk["needed"] > disk["free"]:
        log.warning("the disk does not suffice: make room, or choose another output_dir")
    if memory["needed"] is not None and memory["needed"] > memory["free"]:
        log.warning("the memory does not suffice: choose a smaller model, dtype or size, or another machine")
    log.info("%s: nothing was done, as dry_run=true", path)


def forecast(todo: Plan, renoising: bool) -> dict[str, Any]:
    """The content of plan.json, in plain values. docs/reference/output.md describes it."""
    shards = todo.scale.count if todo.scale.helps else 1  # without help, the plan has this shard's samples alone
    steps, processes = steps_of(todo, renoising), shards * max(1, len(todo.scale.devices))
    settings, device = recorded_settings(todo.model, todo.run, todo.method), todo.model.device
    like = like_samples(todo.run.output_dir, settings, device.type)
    maps, rate = map_bytes(todo, steps), mean_seconds(like)
    others = mean_bytes(like)
    needed = {"maps": maps["on_disk"], "videos_and_records": round(_other_bytes(todo, others[0], sum(steps.reads)))}
    needed["pictures"] = round(_picture_bytes(todo, others[1])) if todo.run.pictures else 0
    return {
        "command": "renoise" if renoising else "sample",
        "settings": settings,
        "device": {"device": str(device), "name": device_name(device)},
        "samples": {
            "listed": len(todo.names),
            "to_do": len(todo.tasks),
            "finished": len(todo.tally.skipped),
            "failing": len(todo.problems),
        },
        "problems": [{"entry": one.entry, "sample": one.name, "reason": one.reason} for one in todo.problems],
        "to_do": [task.name for task in todo.tasks],
        "forward_passes": passes(todo, steps),
        "disk": {
            "needed": sum(needed.values()),
            **needed,
            "measured_samples": len(like),
            "free": shutil.disk_usage(todo.run.output_dir).free,
        },
        "memory": _memory(todo, maps["on_device"]),
        "time": {
            "processes": processes,
            "seconds_per_sample": None if rate is None else round(rate, 3),
            "seconds": None if rate is None else round(ceil(len(todo.tasks) / processes) * rate, 1),
            "measured_samples": len(like),
        },
    }


def _other_bytes(todo: Plan, measured: float | None, reads: int) -> float:
    """Bytes of videos and records. measured: of a finished sample. reads: steps whose maps are read."""
    if measured is not None:
        return len(todo.tasks) * measured
    video = VIDEO * todo.run.num_frames * todo.run.height * todo.run.width
    return len(todo.tasks) * (video + RECORD * len(todo.method.layers) * todo.checkpoint.num_heads * reads)


def _picture_bytes(todo: Plan, measured: float | None) -> float:
    if measured is not None:
        return len(todo.tasks) * measured
    return PICTURES * sum(len(words_of(task.sample)) for task in todo.tasks)


def _memory(todo: Plan, maps: int) -> dict[str, Any]:
    """Bytes of the weights, of those that are on the device at once, and of the maps; and what is free there."""
    weights, offload, device = weights_of(todo.model, todo.checkpoint.source), todo.model.offload, todo.model.device
    free = free_bytes(device)
    needed = None
    if weights is not None:
        whole, largest = sum(weights.values()), max(weights.values())
        on_device = whole if offload == "none" or device.type == "cpu" else 0 if offload == "sequential" else largest
        needed = on_device + maps
    return {"needed": needed, "weights": weights, "maps": maps, "free": free}


def lines(record: dict[str, Any]) -> list[str]:
    """The forecast in a few lines for the log."""
    samples, count, disk = record["samples"], record["forward_passes"], record["disk"]
    memory, time = record["memory"], record["time"]
    kinds = ", ".join(f"{count[key]} {key.replace('_', ' ')}" for key in _PASSES if count[key])
    weights = memory["weights"] and f"{_bytes(sum(memory['weights'].values()))} of weights"
    if time["seconds"] is None:
        takes = "not known, as there is no earlier run"
    else:
        per_sample = f"{time['seconds_per_sample']:.3g} s a sample, the mean of {time['measured_samples']}"
        takes = f"{duration(time['seconds'])} on {time['processes']} process(es), without loading and pictures"
        takes += f" ({per_sample})"
    sizes = ", ".join(f"{_bytes(disk[key])} of {key.replace('_', ' ')}" for key in _DISK if disk[key])
    return [
        "samples: {to_do} to do, {finished} finished, {failing} failing the check, of {listed}".format(**samples),
        f"forward passes: {count['all']}" + (f" ({kinds})" if kinds else ""),
        f"disk: {_bytes(disk['needed'])}" + (f" ({sizes})" if sizes else "") + f"; {_bytes(disk['free'])} are free",
        f"memory: {weights or 'weights not known'}, {_bytes(memory['maps'])} of maps, and activations; "
        f"{_bytes(memory['free'])} are free on {record['device']['device']}",
        f"time: {takes}",
    ]


_PASSES = ("denoising", "reading", "effect", "layer_choice")
_DISK = ("maps", "videos_and_records", "pictures")


def _bytes(count: float) -> str:
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
