"""Peak memory of sampling with and without a trace, by denoising steps and layers read.

python -m benchmarks.memory --model tiny_cogvideox      # each number comes from a new process

A narrow model has as many blocks as layers are read. On a CPU, the peak is that of the resident set during the call,
minus the resident set before it (on Linux, where a process can reset its peak). On a GPU, it is torch's count. Every
process first traces a small video, which loads the code that is loaded on first use. A limit is met if the whole
interval of `more` is within it. Differences over steps and over layers are between medians.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import imap
from benchmarks.models import NARROW, add_model, build, chosen_size, dtype_on, tokens
from benchmarks.record import chosen_device, in_new_process, interval, judged, machine, parser, write
from benchmarks.words import CONCEPTS, PROMPT
from imap.backbones import backbone_of

STEPS, LAYERS = (1, 4, 16), (4, 16)
SMALL = {"height": 32, "width": 48, "num_frames": 5}
# limits, as fractions of the untraced peak: of the additional memory, and of its differences over steps and layers
MOST, SPREAD = 0.05, 0.02
MOST_MIB = 512  # limit of the additional memory on a GPU

Peaks = Sequence[Sequence[float]]  # (untraced, traced) of each round, MiB


def one_peak(model: str, device: torch.device, size: dict[str, int], steps: int, layers: int, traced: bool) -> float:
    """MiB that a pipeline call adds to the memory in use, at its peak."""
    pipe = build(model, device, dtype_on(device), layers)
    pipe.set_progress_bar_config(disable=True)
    call(pipe, SMALL, 1, layers, traced=True)
    before = held(device)
    call(pipe, size, steps, layers, traced)
    return peak(device) - before


def call(pipe: Any, size: dict[str, int], steps: int, layers: int, traced: bool) -> None:
    """One conditional pipeline call. If `traced`, the first `layers` layers are read."""
    backbone = backbone_of(pipe)
    arguments = {**size, "num_inference_steps": steps, "output_type": "latent"}
    arguments |= backbone.encode_prompt(PROMPT, None)
    read = list(range(min(layers, backbone.num_layers)))
    method = {"imap_layer": read, "maps_layers": [0, len(read)], "imap_qk_matching_target": "concepts"}
    with backbone.guidance(1.0, conditional_only=True) as guidance:
        if not traced:
            pipe(**arguments, **guidance)
            return
        with imap.trace(pipe, PROMPT, CONCEPTS[:5], **method) as trace:
            pipe(**arguments, **guidance)
            trace.maps()


def held(device: torch.device) -> float:
    """MiB in use now. Resets the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak(device: torch.device) -> float:
    """Peak MiB in use since the last call of `held`."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def row(peaks: Peaks) -> dict[str, Any]:
    """Medians of the peaks in MiB, and the additional memory of the trace."""
    untraced, traced, extra_mib = map(statistics.median, (*zip(*peaks, strict=True), added_mib(peaks)))
    medians = {"untraced_mib": round(untraced, 1), "traced_mib": round(traced, 1), "more_mib": round(extra_mib, 1)}
    return {**medians, **judged(added(peaks), MOST, "more")}


def added_mib(peaks: Peaks) -> list[float]:
    """traced - untraced, round by round."""
    return [traced - untraced for untraced, traced in peaks]


def added(peaks: Peaks) -> list[float]:
    """Additional memory of the trace as a fraction of the untraced peak, round by round."""
    return [(traced - untraced) / untraced for untraced, traced in peaks]


def requirements(measured: dict[tuple[int, int], Peaks], device: torch.device) -> list[dict[str, Any]]:
    """The limits that all peaks together must meet, and whether they do.

    Args:
        measured: peaks by (steps, layers).
        device: where they were measured.

    Returns:
        A row for each limit.
    """
    fractions = [added(peaks) for peaks in measured.values()]
    rows = [{"must": "most that a trace takes, of the untraced peak", **judged(_worst(fractions), MOST, "value")}]
    medians = dict(zip(measured, map(statistics.median, fractions), strict=True))
    first = next(iter(measured))
    for axis, name in enumerate(("steps", "layers")):
        by_count = {case[axis]: x for case, x in medians.items() if case[1 - axis] == first[1 - axis]}
        if len(by_count) > 1:
            spread = judged([max(by_count.values()) - min(by_count.values())], SPREAD, "value")
            counts = ", ".join(map(str, sorted(by_count)))
            rows.append({"must": f"difference over {counts} {name}", **spread, "low": None, "high": None})
    if device.type == "cuda":
        most = _worst([added_mib(peaks) for peaks in measured.values()])
        rows.append({"must": "most that a trace takes, MiB", **judged(most, MOST_MIB, "value")})
    return rows


def _worst(cases: Sequence[list[float]]) -> list[float]:
    return max(cases, key=lambda values: interval(values)[1])


def cases(steps: Sequence[int], layers: Sequence[int]) -> list[tuple[int, int]]:
    """(steps, layers) to measure: steps vary with the first of `layers`, and layers with the first of `steps`."""
    return [*((count, layers[0]) for count in steps), *((steps[0], count) for count in layers[1:])]


def main() -> None:
    command = parser(__doc__ or "")
    add_model(command)
    command.add_argument("--one", nargs=3, type=int, metavar=("STEPS", "LAYERS", "TRACED"), help=argparse.SUPPRESS)
    command.add_argument("--steps", nargs="+", type=int, default=STEPS)
    command.add_argument(
        "--layers",
        nargs="+",
        type=int,
        default=LAYERS,
        help="all but the first are measured with the first of --steps only",
    )
    command.set_defaults(repeats=5)
    options = command.parse_args()
    device, size = chosen_device(options), chosen_size(options)
    if options.one:
        steps, layers, traced = options.one
        print(json.dumps(one_peak(options.model, device, size, steps, layers, bool(traced))))
        return
    rows, measured = [], {}
    about = {"model": options.model, "tokens": tokens(size)}
    for steps, layers in cases(options.steps, options.layers):
        measured[steps, layers] = peaks = [
            [in_new_process("benchmarks.memory", *sys.argv[1:], "--one", steps, layers, traced) for traced in (0, 1)]
            for _ in range(options.repeats)
        ]
        case = {"steps": steps, "layers": layers, "blocks": layers if options.model in NARROW else "all"}
        rows.append({**about, **size, **case, **row(peaks), **machine(device)})
    write(rows, options.json)
    print()
    write([{**about, **must} for must in requirements(measured, device)], options.json)


if __name__ == "__main__":
    main()
