"""The cost of the maps of one layer against visual tokens, concepts and heads, with the fitted exponent of each.

python -m benchmarks.growth            # CPU: widths of a real model, up to the 32,760 tokens of Wan at 81 frames
"""

import statistics
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.record import in_turn, machine, parser, write
from imap.maps.concept_stream import concept_head_outputs
from imap.maps.layer import Layer, Rule, Texts, layer_maps
from imap.maps.separability import SCORES

TOKENS = (2_340, 5_850, 9_360, 17_550, 32_760)
CONCEPTS = (1, 2, 5, 10, 20)
HEADS = (6, 12, 24, 48)
FRAMES, WIDTH = 13, 64


def layer(tokens: int, concepts: int, heads: int, device: torch.device) -> tuple[Layer, Texts]:
    """Random attention of one layer, and the texts of `concepts` words with one slot for the padding."""
    generator, slots = torch.Generator().manual_seed(0), concepts + 1
    patches = tokens // FRAMES

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    weights = torch.tensor([1.0] * concepts + [226.0 - concepts], device=device)
    rows = torch.eye(slots, device=device)[:concepts]
    visual = (heads, FRAMES, patches, WIDTH)
    attention = Layer(randn(*visual), randn(*visual), randn(heads, slots, WIDTH), randn(heads, slots, WIDTH))
    return attention, Texts(weights, rows, weights, rows)


def work(attention: Layer, texts: Texts, rule: Rule) -> None:
    """What a block of joint attention costs: its concept tokens, and its maps."""
    visual = attention.o.flatten(1, 2)
    concepts = concept_head_outputs(*[attention.keys] * 3, texts.weights, visual, visual)
    layer_maps(replace(attention, concepts=concepts), texts, rule)


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--heads", type=int, default=6, help="where heads do not vary")
    options = command.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    rule = Rule(SCORES["CHI"], topk=min(5, options.heads), standardize=True, softmax=False)
    rows = []
    for name, values in (("tokens", TOKENS), ("concepts", CONCEPTS), ("heads", HEADS)):
        sizes = [{"tokens": 9_360, "concepts": 5, "heads": options.heads, name: value} for value in values]
        # one size at a time: the largest would not fit beside the others on a small machine
        times = []
        for size in sizes:
            attention, texts = layer(**size, device=device)
            (found,) = in_turn([partial(work, attention, texts, rule)], options.repeats, device)
            times.append(statistics.median(found))
        exponent = float(np.polyfit(np.log(values), np.log(times), 1)[0])
        # from one size to the next: a launch-bound start would hide a steep end in the fit
        slopes = [float("nan"), *(np.diff(np.log(times)) / np.diff(np.log(values)))]
        rows += [
            {
                "against": name,
                **size,
                "seconds": round(x, 5),
                "exponent": round(exponent, 3),
                "from_the_last": round(float(slope), 3),
                **machine(device),
            }
            for size, x, slope in zip(sizes, times, slopes, strict=True)
        ]
    write(rows, options.json)


if __name__ == "__main__":
    main()
