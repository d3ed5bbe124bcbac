"""Peak memory of sampling with and without a trace, over denoising steps and layers that are read (a narrow model has
as many blocks).

python -m benchmarks.memory --model tiny_cogvideox      # each figure from a process of its own

On a CPU the peak is the resident set of the process less what it held before the call, on a GPU torch's own count.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys

import torch

import imap
from benchmarks.models import NARROW, add_model, build, chosen_size
from benchmarks.overhead import CONCEPTS, PROMPT
from benchmarks.record import machine, parser, write
from imap.backbones import backbone_of

STEPS, LAYERS = (1, 4, 16), (4, 16)
# the resident set follows the tensors only if the C library hands back what is freed
FREE_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}


def one_peak(model: str, device: torch.device, size: dict[str, int], steps: int, layers: int, traced: bool) -> float:
    """MiB that a pipeline call adds at its peak."""
    pipe = build(model, device, torch.float32 if device.type == "cpu" else torch.bfloat16, layers)
    pipe.set_progress_bar_config(disable=True)
    backbone = backbone_of(pipe)
    arguments = {**size, "num_inference_steps": steps}
    arguments |= backbone.guidance_arguments(1.0, conditional_only=True) | backbone.encode_prompt(PROMPT, None)
    read = list(range(min(layers, backbone.num_layers)))
    before = _peak(device, reset=True)
    if traced:
        with imap.trace(
            pipe, PROMPT, CONCEPTS[:5], imap_layer=read, maps_layers=[0, len(read)], imap_qk_matching_target="concepts"
        ) as trace:
            pipe(**arguments, output_type="latent")
            trace.maps()
    else:
        pipe(**arguments, output_type="latent")
    return _peak(device) - before


def _peak(device: torch.device, reset: bool = False) -> float:
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    command = parser(__doc__)
    add_model(command)
    command.add_argument("--one", nargs=3, type=int, metavar=("STEPS", "LAYERS", "TRACED"), help=argparse.SUPPRESS)
    command.set_defaults(repeats=1)
    options = command.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    size = chosen_size(options)
    if options.one:
        steps, layers, traced = options.one
        print(json.dumps(one_peak(options.model, device, size, steps, layers, bool(traced))))
        return
    rows = []
    for steps, layers in [*((steps, LAYERS[0]) for steps in STEPS), *((1, layers) for layers in LAYERS[1:])]:
        rounds = [[_in_a_process(steps, layers, traced) for traced in (0, 1)] for _ in range(options.repeats)]
        peaks = [statistics.median(own) for own in zip(*rounds, strict=True)]
        rows.append(
            {
                "model": options.model,
                "steps": steps,
                "layers": layers,
                "blocks": layers if options.model in NARROW else "all",
                "untraced_mib": round(peaks[0], 1),
                "traced_mib": round(peaks[1], 1),
                "more": round(peaks[1] / peaks[0] - 1, 4),
                **machine(device),
            }
        )
    write(rows, options.json)


def _in_a_process(*one: int) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--one", *map(str, one)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **FREE_AT_ONCE})
    return float(told.stdout.split()[-1])


if __name__ == "__main__":
    main()
