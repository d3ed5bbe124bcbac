"""Maps of your clip: python examples/own_clip.py clip.mp4 "a box jumps while a ring flashes" --motions jumps

Without --model it uses a small model that is part of imap, which knows coloured shapes only. Give the folder or hub id
of a real one: --model THUDM/CogVideoX-5b --device cuda --height 480 --width 720 --num_frames 49
"""

import argparse

import torch
from diffusers import DiffusionPipeline

import imap


def main() -> None:
    """Renoise the clip, and save its maps with pictures to look at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", help="a video file")
    parser.add_argument("prompt", help="describes the clip in a sentence")
    parser.add_argument("--concepts", default="", help="things to look for, separated by commas")
    parser.add_argument("--motions", default="", help="motion words to look for, separated by commas")
    parser.add_argument("--model", default=imap.demo_model(), help="folder or hub id of a pipeline")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--height", type=int, default=64, help="pixels")
    parser.add_argument("--width", type=int, default=64, help="pixels")
    parser.add_argument("--num_frames", type=int, default=25, help="4k+1")
    parser.add_argument("--output", default="outputs/own_clip", help="folder")
    options = parser.parse_args()
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    pipe = DiffusionPipeline.from_pretrained(options.model, torch_dtype=dtype, use_safetensors=True).to(options.device)
    renoised = imap.renoise(
        pipe,
        options.clip,
        prompt=options.prompt,
        concepts=options.concepts,
        motions=options.motions,
        height=options.height,
        width=options.width,
        num_frames=options.num_frames,
        resize="crop",
        frames="uniform",
    )
    folder = renoised.maps.save(options.output, video=renoised.frames)
    print(f"{folder}: draw it with  imap view {folder}")


if __name__ == "__main__":
    main()
