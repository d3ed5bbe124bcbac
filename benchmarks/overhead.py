"""Cost of a trace: one denoising step with and without it, in turn, by concepts, text keys, layers and head scores.

python -m benchmarks.overhead --model tiny_cogvideox
python -m benchmarks.overhead --model cogvideox_5b --rows "5 concepts" prompt

A limit is met if the whole interval of the ratio is within it. On a CPU, seconds are processor time of the process.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

import imap
from benchmarks.models import add_model, chosen_size, open_pipeline, tokens
from benchmarks.record import chosen_device, in_turn, judged, machine, parser, ratios, write
from benchmarks.words import CONCEPTS, PROMPT
from imap.backbones import FAMILIES, backbone_of
from imap.config.presets import presets
from imap.tracing.trace import Trace


@dataclass(frozen=True)
class TraceCase:
    """A trace to measure.

    Attributes:
        count: number of concepts.
        target: text keys, "concepts" or "prompt".
        all_layers: read every layer, which is the default of a trace, or only the paper's.
        score: separability score of the heads.
        limits: upper limit of traced / untraced, by device.
    """

    count: int = 5
    target: str = "concepts"
    all_layers: bool = True
    score: str = "CHI"
    limits: tuple[tuple[str, float], ...] = ()


PAPER_TOKENS = 17_550  # limits hold from the paper's grid on: with more tokens, a trace takes a smaller share
CLOSE, PROMPT_LIMIT = (("cpu", 1.05), ("cuda", 1.03)), (("cpu", 1.20),)
ROWS = {
    "1 concept": TraceCase(1),
    "5 concepts": TraceCase(limits=CLOSE),
    "20 concepts": TraceCase(20),
    "5 concepts, the paper's layers alone": TraceCase(all_layers=False, limits=CLOSE),
    "prompt": TraceCase(target="prompt", limits=PROMPT_LIMIT),
    "prompt, the paper's layers alone": TraceCase(target="prompt", all_layers=False, limits=PROMPT_LIMIT),
    **{f"5 concepts, {score}": TraceCase(score=score) for score in ("Fisher", "DBI", "Silhouette")},
}


def trace_settings(case: TraceCase, paper: dict[str, Any]) -> dict[str, Any]:
    """Settings of the trace. paper: the paper's settings for the family."""
    layers = paper["imap_layer"]
    return {
        "imap_layer": layers,
        "maps_layers": None if case.all_layers else [layers[0], layers[0] + 1],
        "imap_qk_matching_target": case.target,
        "imap_sep_score": case.score,
        "imap_sep_topk": paper["imap_sep_topk"],
    }


def limit(case: TraceCase, size: dict[str, int], device: torch.device) -> float | None:
    """Upper limit of traced / untraced; None if there is none."""
    return dict(case.limits).get(device.type) if tokens(size) >= PAPER_TOKENS else None


def step(pipe: Any, arguments: dict[str, Any], count: int, method: dict[str, Any]) -> Trace:
    """One pipeline call under a trace of the first `count` concepts."""
    with imap.trace(pipe, PROMPT, CONCEPTS[:count], **method) as trace:
        pipe(**arguments)
    return trace


def measure(
    pipe: Any,
    paper: dict[str, Any],
    size: dict[str, int],
    names: list[str],
    guidance: float,
    repeats: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Time an untraced step and the traced steps of several cases, in turn.

    Args:
        pipe: the diffusers pipeline.
        paper: the paper's settings for its family.
        size: height, width and num_frames of the video.
        names: keys of ROWS.
        guidance: scale of classifier-free guidance; 1 is one conditional pass.
        repeats: rounds.
        device: where the pipeline is.

    Returns:
        A row for each name.
    """
    backbone = backbone_of(pipe)
    arguments = {
        **backbone.encode_prompt(PROMPT, "" if guidance > 1 else None),
        **size,
        "num_inference_steps": 1,
        "output_type": "latent",
        "generator": torch.Generator("cpu").manual_seed(0),
    }
    with backbone.guidance(guidance, conditional_only=guidance <= 1) as guided:
        arguments |= guided
        works: list[Callable[[], Any]] = [partial(pipe, **arguments)]
        read = []
        for name in names:
            method = trace_settings(ROWS[name], paper)
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
            "traced_s": round(statistics.median(seconds), 4),
            **judged(ratios(plain, seconds), limit(ROWS[name], size, device)),
            "ratios": [round(x, 3) for x in ratios(plain, seconds)],
            "families": len(FAMILIES),
        }
        for name, layers, seconds in zip(names, read, traced, strict=True)
    ]


def main() -> None:
    command = parser(__doc__ or "")
    add_model(command)
    command.add_argument("--guidance", type=float, default=1.0, help="1: one conditional pass, as in renoising")
    command.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="; ".join(ROWS))
    options = command.parse_args()
    device = chosen_device(options)
    rows = measure(
        open_pipeline(options.model, device),
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
