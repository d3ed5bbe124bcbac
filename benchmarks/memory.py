"""Peak memory of sampling with and without a trace, over denoising steps and layers that are read (a narrow model has
as many blocks).

python -m benchmarks.memory --model tiny_cogvideox      # each figure from a process of its own

On a CPU the peak is that of the resident set during the call, less what was resident just before it (Linux, which lets
a process reset its peak); on a GPU torch's own count. A traced call of a small video comes first in every process, so
that code which is loaded on first use is in neither. A limit is met where the whole interval of `more` keeps to it;
differences over steps and over layers are of medians.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

import imap
from benchmarks.models import NARROW, add_model, build, chosen_size, dtype_on, tokens
from benchmarks.record import alone, chosen_device, interval, judged, machine, parser, write
from benchmarks.words import CONCEPTS, PROMPT
from imap.backbones import backbone_of

STEPS, LAYERS = (1, 4, 16), (4, 16)
SMALL = {"height": 32, "width": 48, "num_frames": 5}
# of the untraced peak: how much more a trace may take, and by how much that may differ over steps and over layers
MOST, SPREAD = 0.05, 0.02
MOST_MIB = 512  # more on a GPU

Peaks = Sequence[Sequence[float]]  # of each round (untraced, traced), MiB


def one_peak(model: str, device: torch.device, size: dict[str, int], steps: int, layers: int, traced: bool) -> float:
    """MiB that a pipeline call adds at its peak."""
    pipe = build(model, device, dtype_on(device), layers)
    pipe.set_progress_bar_config(disable=True)
    call(pipe, SMALL, 1, layers, traced=True)
    before = held(device)
    call(pipe, size, steps, layers, traced)
    return peak(device) - before


def call(pipe: DiffusionPipeline, size: dict[str, int], steps: int, layers: int, traced: bool) -> None:
    """One conditional pipeline call, `layers` of its layers read."""
    backbone = backbone_of(pipe)
    arguments = {**size, "num_inference_steps": steps, "output_type": "latent"}
    arguments |= backbone.guidance_arguments(1.0, conditional_only=True) | backbone.encode_prompt(PROMPT, None)
    if not traced:
        pipe(**arguments)
        return
    read = list(range(min(layers, backbone.num_layers)))
    method = {"imap_layer": read, "maps_layers": [0, len(read)], "imap_qk_matching_target": "concepts"}
    with imap.trace(pipe, PROMPT, CONCEPTS[:5], **method) as trace:
        pipe(**arguments)
        trace.maps()


def held(device: torch.device) -> float:
    """MiB in use now; the peak starts anew from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak(device: torch.device) -> float:
    """MiB in use at most since `held`."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def row(peaks: Peaks) -> dict[str, Any]:
    """Medians of the peaks in MiB, and how much more the trace takes."""
    untraced, traced, more_mib = map(statistics.median, (*zip(*peaks, strict=True), differences(peaks)))
    own = {"untraced_mib": round(untraced, 1), "traced_mib": round(traced, 1), "more_mib": round(more_mib, 1)}
    return {**own, **judged(more(peaks), MOST, "more")}


def differences(peaks: Peaks) -> list[float]:
    """traced - untraced, round by round."""
    return [traced - untraced for untraced, traced in peaks]


def more(peaks: Peaks) -> list[float]:
    """How much more the trace takes, of the untraced peak, round by round."""
    return [(traced - untraced) / untraced for untraced, traced in peaks]


def requirements(found: dict[tuple[int, int], Peaks], device: torch.device) -> list[dict[str, Any]]:
    """What the peaks of all (steps, layers) must show together, and whether they do."""
    of = [more(peaks) for peaks in found.values()]
    rows = [{"must": "most that a trace takes, of the untraced peak", **judged(_worst(of), MOST, "value")}]
    medians, first = dict(zip(found, map(statistics.median, of), strict=True)), next(iter(found))
    for axis, name in enumerate(("steps", "layers")):
        own = {case[axis]: x for case, x in medians.items() if case[1 - axis] == first[1 - axis]}
        if len(own) > 1:  # one alone has nothing to differ from
            spread = judged([max(own.values()) - min(own.values())], SPREAD, "value")
            counts = ", ".join(map(str, sorted(own)))
            rows.append({"must": f"difference over {counts} {name}", **spread, "low": None, "high": None})
    if device.type == "cuda":
        most = _worst([differences(peaks) for peaks in found.values()])
        rows.append({"must": "most that a trace takes, MiB", **judged(most, MOST_MIB, "value")})
    return rows


def _worst(of: Sequence[list[float]]) -> list[float]:
    return max(of, key=lambda values: interval(values)[1])


def cases(steps: Sequence[int], layers: Sequence[int]) -> list[tuple[int, int]]:
    """(steps, layers) to measure: all steps with the first layers, then the other layers with the first steps."""
    return [*((count, layers[0]) for count in steps), *((steps[0], count) for count in layers[1:])]


def main() -> None:
    command = parser(__doc__)
    add_model(command)
    command.add_argument("--one", nargs=3, type=int, metavar=("STEPS", "LAYERS", "TRACED"), help=argparse.SUPPRESS)
    command.add_argument("--steps", nargs="+", type=int, default=STEPS)
    command.add_argument("--layers", nargs="+", type=int, default=LAYERS, help="all but the first: one count of steps")
    command.set_defaults(repeats=5)
    options = command.parse_args()
    device, size = chosen_device(options), chosen_size(options)
    if options.one:
        steps, layers, traced = options.one
        print(json.dumps(one_peak(options.model, device, size, steps, layers, bool(traced))))
        return
    rows, found = [], {}
    about = {"model": options.model, "tokens": tokens(size)}
    for steps, layers in cases(options.steps, options.layers):
        found[steps, layers] = peaks = [
            [alone("benchmarks.memory", *sys.argv[1:], "--one", steps, layers, traced) for traced in (0, 1)]
            for _ in range(options.repeats)
        ]
        case = {"steps": steps, "layers": layers, "blocks": layers if options.model in NARROW else "all"}
        rows.append({**about, **size, **case, **row(peaks), **machine(device)})
    write(rows, options.json)
    print()
    write([{**about, **must} for must in requirements(found, device)], options.json)


if __name__ == "__main__":
    main()
