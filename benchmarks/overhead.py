"""What a trace costs: one transformer step with and without it, in turn, over concepts, text keys, layers and scores.

python -m benchmarks.overhead --model tiny_cogvideox
python -m benchmarks.overhead --model cogvideox_5b --rows "5 concepts" prompt

A row is met where the whole interval of its ratio keeps to the limit. On a CPU the clock is the processor time of the
process.
"""

import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline

import imap
from benchmarks.models import add_model, chosen_size, opened, tokens
from benchmarks.record import chosen_device, in_turn, judged, machine, parser, ratios, write
from benchmarks.words import CONCEPTS, PROMPT
from imap.backbones import backbone_of
from imap.config.presets import presets
from imap.tracing.trace import Trace


@dataclass(frozen=True)
class Asked:
    """What is asked of a trace: how many concepts, whose keys, whether all layers are read (as they are where nothing
    is said) or only the paper's, and the head score. limits: of traced / untraced, by device."""

    count: int = 5
    target: str = "concepts"
    all_layers: bool = True
    score: str = "CHI"
    limits: tuple[tuple[str, float], ...] = ()


PAPER_TOKENS = 17_550  # the limits are for the paper's grid: the share of a trace falls with the tokens
CLOSE, PROMPT_LIMIT = (("cpu", 1.05), ("cuda", 1.03)), (("cpu", 1.20),)
ROWS = {
    "1 concept": Asked(1),
    "5 concepts": Asked(limits=CLOSE),
    "20 concepts": Asked(20),
    "5 concepts, the paper's layers alone": Asked(all_layers=False, limits=CLOSE),
    "prompt": Asked(target="prompt", limits=PROMPT_LIMIT),
    "prompt, the paper's layers alone": Asked(target="prompt", all_layers=False, limits=PROMPT_LIMIT),
    **{f"5 concepts, {score}": Asked(score=score) for score in ("Fisher", "DBI", "Silhouette")},
}


def settings(asked: Asked, paper: dict[str, Any]) -> dict[str, Any]:
    """Settings of the trace."""
    own = paper["imap_layer"]
    return {
        "imap_layer": own,
        "maps_layers": None if asked.all_layers else [own[0], own[0] + 1],
        "imap_qk_matching_target": asked.target,
        "imap_sep_score": asked.score,
        "imap_sep_topk": paper["imap_sep_topk"],
    }


def limit(asked: Asked, size: dict[str, int], device: torch.device) -> float | None:
    """What traced / untraced must keep to; None where nothing is said."""
    return dict(asked.limits).get(device.type) if tokens(size) >= PAPER_TOKENS else None


def step(pipe: DiffusionPipeline, arguments: dict[str, Any], count: int, method: dict[str, Any]) -> Trace:
    """One pipeline call under a trace of so many concepts."""
    with imap.trace(pipe, PROMPT, CONCEPTS[:count], **method) as trace:
        pipe(**arguments)
    return trace


def measure(
    pipe: DiffusionPipeline,
    paper: dict[str, Any],
    size: dict[str, int],
    names: list[str],
    guidance: float,
    repeats: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """A row for each of `names`: its traced step and an untraced one, of the same rounds."""
    backbone = backbone_of(pipe)
    arguments = {
        **backbone.encode_prompt(PROMPT, "" if guidance > 1 else None),
        **backbone.guidance_arguments(guidance, conditional_only=guidance <= 1),
        **size,
        "num_inference_steps": 1,
        "output_type": "latent",
        "generator": torch.Generator("cpu").manual_seed(0),
    }
    works, read = [partial(pipe, **arguments)], []
    for name in names:
        method = settings(ROWS[name], paper)
        read.append(len(imap.trace(pipe, PROMPT, CONCEPTS[: ROWS[name].count], **method).method.layers))
        works.append(partial(step, pipe, arguments, ROWS[name].count, method))
    plain, *traced = in_turn(works, repeats, device)
    return [
        {
            "trace": name,
            **size,
            "tokens": tokens(size),
            "layers": f"{layers} of {backbone.num_layers}",
            "guidance": guidance,
            "untraced_s": round(statistics.median(plain), 4),
            "traced_s": round(statistics.median(own), 4),
            **judged(ratios(plain, own), limit(ROWS[name], size, device)),
            "ratios": [round(x, 3) for x in ratios(plain, own)],
        }
        for name, layers, own in zip(names, read, traced, strict=True)
    ]


def main() -> None:
    command = parser(__doc__)
    add_model(command)
    command.add_argument("--guidance", type=float, default=1.0, help="1: one conditional pass, as in renoising")
    command.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="; ".join(ROWS))
    options = command.parse_args()
    device = chosen_device(options)
    rows = measure(
        opened(options.model, device),
        presets()[options.model].paper,
        chosen_size(options),
        options.rows,
        options.guidance,
        options.repeats,
        device,
    )
    write([{"model": options.model, **row, **machine(device)} for row in rows], options.json)


if __name__ == "__main__":
    main()
