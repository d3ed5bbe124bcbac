"""Cost of the maps of one layer against visual tokens, concepts and heads, with a fitted exponent for each.

All sizes take turns within a round. On a CPU, seconds are processor time of the process. A fixed cost flattens the fit
to all sizes, and hardly affects the fit to the three largest.

python -m benchmarks.growth            # CPU: widths of a real model, up to the 32,760 tokens of Wan at 81 frames
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.record import chosen_device, in_turn, judged, machine, parser, write
from imap.methods.concept_stream import concept_head_outputs
from imap.methods.layer_maps import LayerActivations, MapConfig, SlotWeights, layer_maps
from imap.methods.motion_heads import SCORES

AXES = {
    "tokens": (2_340, 5_850, 9_360, 17_550, 32_760),
    "concepts": (1, 2, 5, 10, 20),
    "heads": (6, 12, 24, 48),
}
LIMITS = {"tokens": 1.1}  # upper limit of the exponent
FRAMES, WIDTH = 13, 64


def layer(tokens: int, concepts: int, heads: int, device: torch.device) -> tuple[LayerActivations, SlotWeights]:
    """Random attention of one layer, and the slots of `concepts` words and of the padding."""
    generator, slots = torch.Generator().manual_seed(0), concepts + 1
    patches = tokens // FRAMES

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    weights = torch.tensor([1.0] * concepts + [226.0 - concepts], device=device)
    rows = torch.eye(slots, device=device)[:concepts]
    visual = (heads, FRAMES, patches, WIDTH)
    attention = LayerActivations(randn(*visual), randn(*visual), randn(heads, slots, WIDTH), randn(heads, slots, WIDTH))
    return attention, SlotWeights(weights, rows, weights, rows)


def work(attention: LayerActivations, texts: SlotWeights, config: MapConfig) -> None:
    """The work of a trace in a block of joint attention: head outputs of the concept tokens, and maps."""
    visual = attention.o.flatten(1, 2)
    keys = attention.keys
    concepts = concept_head_outputs(keys, keys, keys, texts.weights, visual, visual)
    layer_maps(replace(attention, concepts=concepts), texts, config)


def sizes(axis: str, values: Sequence[int], heads: int) -> list[dict[str, int]]:
    """Sizes that differ along one axis."""
    return [{"tokens": 9_360, "concepts": 5, "heads": heads, axis: value} for value in values]


def measure(axis: str, grown: list[dict[str, int]], repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """Time all sizes in turn, and fit an exponent to each round, which gives it an interval.

    Args:
        axis: "tokens", "concepts" or "heads".
        grown: sizes along this axis, from `sizes`.
        repeats: rounds.
        device: where to compute.

    Returns:
        A row for each size.
    """
    works = []
    for size in grown:
        attention, texts = layer(**size, device=device)
        config = MapConfig(SCORES["CHI"], topk=min(5, size["heads"]), standardize=True, softmax=False)
        works.append(partial(work, attention, texts, config))
    seconds = np.log(in_turn(works, repeats, device))  # (sizes, rounds)
    steps = np.log([size[axis] for size in grown])
    times = np.median(seconds, axis=1)
    # slopes between neighbouring sizes: small sizes with a fixed cost would hide a steep end in the fit
    slopes = [None, *(round(float(slope), 3) for slope in np.diff(times) / np.diff(steps))]
    fit = judged([float(x) for x in np.polyfit(steps, seconds, 1)[0]], LIMITS.get(axis), "exponent")
    fit["exponent_of_the_largest"] = round(float(np.median(np.polyfit(steps[-3:], seconds[-3:], 1)[0])), 4)
    return [
        {"against": axis, **size, "seconds": round(float(np.exp(x)), 5), "from_the_last": slope, **fit}
        for size, x, slope in zip(grown, times, slopes, strict=True)
    ]


def main() -> None:
    command = parser(__doc__ or "")
    command.add_argument("--heads", type=int, default=6, help="for the rows over tokens and concepts")
    options = command.parse_args()
    device = chosen_device(options)
    rows = []
    for axis, values in AXES.items():
        rows += measure(axis, sizes(axis, values, options.heads), options.repeats, device)
    write([row | machine(device) for row in rows], options.json)


if __name__ == "__main__":
    main()
