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
from imap.presets import presets
from imap.tracing import Trace

CONCEPTS = ["horse", "field", "sky", "grass", "rider", *(f"thing {n}" for n in range(15))]
PROMPT = "A rider on a horse gallops across a field of grass under a wide sky."
# what is asked of the trace: how many concepts, whose keys, whether all layers are read (as they are where nothing is
# said) or only the paper's, and the head score
ROWS = {
    "1 concept": (1, "concepts", True, "CHI"),
    "5 concepts": (5, "concepts", True, "CHI"),
    "20 concepts": (20, "concepts", True, "CHI"),
    "5 concepts, the paper's layers alone": (5, "concepts", False, "CHI"),
    "prompt": (5, "prompt", True, "CHI"),
    "prompt, the paper's layers alone": (5, "prompt", False, "CHI"),
    **{f"5 concepts, {score}": (5, "concepts", True, score) for score in ("Fisher", "DBI", "Silhouette")},
}


def step(pipe: DiffusionPipeline, arguments: dict[str, Any], count: int, method: dict[str, Any]) -> Trace:
    """One pipeline call under a trace of so many concepts."""
    with imap.trace(pipe, PROMPT, CONCEPTS[:count], **method) as trace:
        pipe(**arguments)
    return trace


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
    own, works, layers = paper["imap_layer"], [], []
    for count, target, all_layers, score in (ROWS[row] for row in options.rows):
        method = {"imap_layer": own, "imap_qk_matching_target": target, "imap_sep_score": score}
        method["imap_sep_topk"] = paper["imap_sep_topk"]
        method["maps_layers"] = None if all_layers else [own[0], own[0] + 1]
        layers.append(len(imap.trace(pipe, PROMPT, CONCEPTS[:count], **method).method.layers))
        works += [partial(pipe, **arguments), partial(step, pipe, arguments, count, method)]
    grid = works[1]().grid
    found = in_turn(works, options.repeats, device)
    about = {"guidance": options.guidance, "tokens": grid.frames * grid.patches, **machine(device)}
    write(
        [
            {
                "model": options.model,
                "trace": row,
                "layers": f"{read} of {backbone.num_layers}",
                "untraced_s": statistics.median(plain),
                "traced_s": statistics.median(traced),
                "ratio": ratio(plain, traced),
                "ratios": [round(b / a, 3) for a, b in zip(plain, traced, strict=True)],
                **about,
            }
            for row, read, plain, traced in zip(options.rows, layers, found[::2], found[1::2], strict=True)
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
