"""Render clips of the embedded world: `imap shapes render`, or python -m imap.shapes.render."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from imap.shapes.world.render import SEED, render
from imap.shapes.world.scenes import VERSION, Conditions


def main(argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Render clips. program: name of the command in usage lines."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=f"Render clips of the embedded world, version {VERSION}, with their ground truth and a list for "
        "imap renoise input_json=FILE.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="output folder")
    parser.add_argument("--count", type=int, default=8, help="number of clips")
    parser.add_argument("--num_frames", type=int, default=25, help="frames per clip, 4k+1")
    parser.add_argument("--height", type=int, default=64, help="in pixels")
    parser.add_argument("--width", type=int, default=64, help="in pixels")
    parser.add_argument("--fps", type=int, default=8, help="frames per second")
    parser.add_argument("--seed", type=int, default=SEED, help="random seed of the scenes")
    for name in Conditions.__dataclass_fields__:
        default = getattr(Conditions(), name)
        parser.add_argument(f"--{name}", type=float, default=default, help=f"share of clips with {name}")
    arguments = parser.parse_args(argv)
    conditions = Conditions(**{name: getattr(arguments, name) for name in Conditions.__dataclass_fields__})
    size = (arguments.num_frames, arguments.height, arguments.width)
    path = render(arguments.folder, arguments.count, size, arguments.fps, arguments.seed, conditions)
    print(f"{path}: imap renoise input_json={path}")


if __name__ == "__main__":
    main()
