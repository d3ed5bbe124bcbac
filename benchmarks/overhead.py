"""What a trace costs: one transformer step with and without it, in turn, over concepts, text keys, layers and scores.

python -m benchmarks.overhead --model tiny_cogvideox
python -m benchmarks.overhead --model cogvideox_5b --rows "5 concepts" prompt
"""

import statistics
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline

import imap
from benchmarks.models import add_model, build, chosen_size
from benchmarks.record import in_turn, machine, parser, ratio, write
from imap.backbones import backbone_of
from imap.backbones.base import Grid
from imap.presets import presets

CONCEPTS = ["horse", "field", "sky", "grass", "rider", *(f"thing {n}" for n in range(15))]
PROMPT = "A rider on a horse gallops across a field of grass under a wide sky."
# what is asked of the trace: how many concepts, whose keys, which layers, and the head score
ROWS = {
    "1 concept": (1, "concepts", "paper's", "CHI"),
    "5 concepts": (5, "concepts", "paper's", "CHI"),
    "20 concepts": (20, "concepts", "paper's", "CHI"),
    "5 concepts, all layers": (5, "concepts", "all", "CHI"),
    "prompt": (5, "prompt", "paper's", "CHI"),
    "prompt, all layers": (5, "prompt", "all", "CHI"),
    **{f"5 concepts, {score}": (5, "concepts", "paper's", score) for score in ("Fisher", "DBI", "Silhouette")},
}


def step(pipe: DiffusionPipeline, arguments: dict[str, Any], count: int, method: dict[str, Any]) -> Grid:
    """One pipeline call under a trace of so many concepts. Returns the grid of its visual tokens."""
    with imap.trace(pipe, PROMPT, CONCEPTS[:count], **method) as trace:
        pipe(**arguments)
    return trace.grid


def main() -> None:
    command = parser(__doc__)
    add_model(command)
    command.add_argument("--guidance", type=float, default=6.0, help="1: the single conditional pass of renoising")
    command.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="; ".join(ROWS))
    options = command.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    pipe = build(options.model, device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    backbone, paper = backbone_of(pipe), presets()[options.model].paper
    arguments = {
        **backbone.encode_prompt(PROMPT, "" if options.guidance > 1 else None),
        **backbone.guidance_arguments(options.guidance, conditional_only=options.guidance <= 1),
        **chosen_size(options),
        "num_inference_steps": 1,
        "output_type": "latent",
        "generator": torch.Generator("cpu").manual_seed(0),
    }
    layers = {"paper's": paper["imap_layer"], "all": list(range(backbone.num_layers))}
    works = []
    for count, target, read, score in (ROWS[row] for row in options.rows):
        method = {"imap_layer": layers[read], "imap_qk_matching_target": target, "imap_sep_score": score}
        method["imap_sep_topk"] = paper["imap_sep_topk"]
        works += [partial(pipe, **arguments), partial(step, pipe, arguments, count, method)]
    grid = works[1]()
    found = in_turn(works, options.repeats, device)
    about = {"guidance": options.guidance, "tokens": grid.frames * grid.patches, **machine(device)}
    write(
        [
            {
                "model": options.model,
                "trace": row,
                "layers": f"{len(layers[ROWS[row][2]])} of {backbone.num_layers}",
                "untraced_s": statistics.median(plain),
                "traced_s": statistics.median(own),
                "ratio": ratio(plain, own),
                "ratios": [round(b / a, 3) for a, b in zip(plain, own, strict=True)],
                **about,
            }
            for row, plain, own in zip(options.rows, found[::2], found[1::2], strict=True)
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
