"""Seconds per clip of one forward pass, for batches of 1, 2 and 4 clips: what reading several clips at once could save.

python -m benchmarks.batching                              # narrow models at a small size, on a CPU
python -m benchmarks.batching --model cogvideox_5b --height 480 --num-frames 49   # of a GPU

The plain transformer is measured, without a trace: a trace adds the same to every clip.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.models import NARROW, add_model, chosen_size, open_pipeline, tokens
from benchmarks.record import chosen_device, in_turn, interval, machine, parser, ratios, write

BATCHES = (1, 2, 4)


def call_of(pipe: Any, size: dict[str, int]) -> dict[str, Any]:
    """Arguments of the transformer in a sampling call of one step without guidance."""
    seen: list[dict[str, Any]] = []
    handle = pipe.transformer.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    try:
        with torch.inference_mode():
            pipe(prompt="a red ball rolls", **size, num_inference_steps=1, guidance_scale=1.0, output_type="latent")
    finally:
        handle.remove()
    return seen[0]


def forward(pipe: Any, call: dict[str, Any], batch: int) -> Callable[[], Any]:
    """A forward pass of some clips at once. Arguments that have a row per clip are repeated."""
    rows = call["hidden_states"].shape[0]

    def repeated(x: Any) -> Any:
        return x.repeat_interleave(batch, 0) if isinstance(x, Tensor) and x.ndim and len(x) == rows else x

    several = {name: repeated(x) for name, x in call.items()}

    def work() -> Any:
        with torch.inference_mode():
            return pipe.transformer(**several)

    return work


def main() -> None:
    command = parser(__doc__ or "")
    add_model(command)
    command.set_defaults(height=128, width=192, num_frames=17, model=None)
    options = command.parse_args()
    device = chosen_device(options)
    rows: list[dict[str, Any]] = []
    for name in [options.model] if options.model else NARROW:
        options.model = name
        pipe, size = open_pipeline(name, device), chosen_size(options)
        call = call_of(pipe, size)
        times = in_turn([forward(pipe, call, batch) for batch in BATCHES], options.repeats, device)
        per_clip = [[x / batch for x in taken] for batch, taken in zip(BATCHES, times, strict=True)]
        for batch, taken in zip(BATCHES, per_clip, strict=True):
            against = ratios(per_clip[0], taken)
            low, high = interval(against)
            rows.append(
                {
                    "model": name,
                    "tokens": tokens(size),
                    "batch": batch,
                    "seconds_per_clip": round(statistics.median(taken), 4),
                    "ratio": round(statistics.median(against), 3),
                    "low": round(low, 3),
                    "high": round(high, 3),
                    **machine(device),
                }
            )
    write(rows, options.json)


if __name__ == "__main__":
    main()
