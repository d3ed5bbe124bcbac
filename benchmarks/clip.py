"""Reading real clips end to end, stage by stage, and clips per hour.

The text encoder is a small one, and videos and pictures are not written.

python -m benchmarks.clip --model tiny_cogvideox --clip clip.mp4
"""

import statistics
from pathlib import Path

import torch

import imap
from benchmarks.models import add_model, build, chosen_size
from benchmarks.record import machine, parser, seconds, write
from imap.presets import presets

STAGES = ("decode_clip", "encode_clip", "encode_text", "denoise", "finish", "maps")


def main() -> None:
    command = parser(__doc__)
    add_model(command)
    command.add_argument("--clip", type=Path, required=True, help="a video file; it is resampled to the size below")
    command.add_argument("--out", type=Path, default=Path("outputs/benchmark_clip"))
    options = command.parse_args()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    pipe = build(options.model, device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    paper = presets()[options.model].paper
    found: list[dict[str, float]] = []
    for repeat in range(options.repeats + 1):
        kept = []
        whole = seconds(
            lambda kept=kept: kept.append(
                imap.renoise(
                    pipe,
                    options.clip,
                    prompt="A rider on a horse gallops across a field.",
                    concepts=["rider", "horse", "field"],
                    motions=["gallops"],
                    num_inference_steps=paper["num_inference_steps"],
                    renoise_timestep=paper["renoise_timestep"],
                    **chosen_size(options),
                    resize="crop",
                    frames="uniform",
                )
            ),
            device,
        )
        write_s = seconds(lambda kept=kept: kept[0].maps.save(options.out), device)
        if repeat:
            found.append(
                {**{name: kept[0].seconds.get(name, 0.0) for name in STAGES}, "write": write_s, "all": whole + write_s}
            )
    median = {name: statistics.median(one[name] for one in found) for name in found[0]}
    about = {"model": options.model, "clips_per_hour": round(3600 / median["all"], 1), **machine(device)}
    write(
        [
            {"stage": name, "seconds": round(x, 4), "share": round(x / median["all"], 4), **about}
            for name, x in median.items()
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
