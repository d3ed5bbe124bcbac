"""What a trace costs: one transformer step with and without it, in turn, and the peak of device memory of each.

python -m benchmarks.overhead --model tiny_cogvideox --height 480 --width 720
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

import imap
from benchmarks.models import NAMES, build
from imap.backbones import backbone_of
from imap.presets import presets

CONCEPTS = ["horse", "field", "sky", "grass", "rider", *(f"thing {n}" for n in range(55))]
PROMPT = "A rider on a horse gallops across a field of grass under a wide sky."


def one_step(pipe: DiffusionPipeline, arguments: dict[str, Any], device: torch.device) -> tuple[float, int]:
    """Seconds of a pipeline call of one step, and the peak of device memory in bytes (0 on a CPU)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    pipe(**arguments)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Alternate untraced and traced steps; medians and the median ratio of neighbours."""
    device = torch.device(options.device)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    pipe = build(options.model, device, dtype)
    pipe.set_progress_bar_config(disable=True)
    backbone = backbone_of(pipe)
    preset = presets()[options.model]
    method = {
        "imap_layer": preset.paper["imap_layer"],
        "imap_sep_score": options.score,
        "imap_sep_topk": preset.paper["imap_sep_topk"],
        "imap_qk_matching_target": options.target,
    }
    arguments = {
        **backbone.encode_prompt(PROMPT, "" if options.guidance > 1 else None),
        **backbone.guidance_arguments(options.guidance, conditional_only=options.guidance <= 1),
        "height": options.height,
        "width": options.width,
        "num_frames": options.num_frames,
        "num_inference_steps": 1,
        "output_type": "latent",
        "generator": torch.Generator("cpu").manual_seed(0),
    }
    plain, traced = [], []
    for repeat in range(options.repeats + 1):
        first = one_step(pipe, arguments, device)
        with imap.trace(pipe, PROMPT, CONCEPTS[: options.concepts], **method) as trace:
            second = one_step(pipe, arguments, device)
        if repeat:  # the first round warms up
            plain.append(first)
            traced.append(second)
    ratios = [b[0] / a[0] for a, b in zip(plain, traced, strict=True)]
    peaks = [max(x[1] for x in runs) for runs in (plain, traced)]
    return {
        "model": options.model,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "dtype": str(dtype).removeprefix("torch."),
        "tokens": trace.grid.frames * trace.grid.patches,
        "concepts": options.concepts,
        "target": options.target,
        "score": options.score,
        "guidance": options.guidance,
        "plain_s": round(statistics.median(x[0] for x in plain), 4),
        "traced_s": round(statistics.median(x[0] for x in traced), 4),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "peak_mib": [round(x / 2**20) for x in peaks],
        "process_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "torch": torch.__version__,
    }


def main() -> None:
    """Measure once, print the row, and add it to a JSON-lines file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NAMES, default="tiny_cogvideox")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=720, help="832 for Wan")
    parser.add_argument("--num-frames", type=int, default=49)
    parser.add_argument("--concepts", type=int, default=5)
    parser.add_argument("--target", choices=("concepts", "prompt"), default="concepts")
    parser.add_argument("--score", choices=("CHI", "DBI", "Silhouette", "Fisher"), default="CHI")
    parser.add_argument("--guidance", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="append the row to this file")
    options = parser.parse_args()
    row = measure(options)
    for key, value in row.items():
        print(f"{key:>18}  {value}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
