"""Clips of the embedded world as files, with the list that main_Renoising.py reads: python -m imap.shapes.render"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from imap.media.clips import write_video
from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import VERSION, Conditions, scenes

SEED = 60_000_000  # of the clips that are shipped


def render(folder: Path, count: int, size: tuple[int, int, int], fps: int, seed: int, conditions: Conditions) -> Path:
    """Write clips of (frames, height, width), their truth, and clips.json with one entry each; returns its path.

    truth-<clip>.npz: masks (things, frames, height, width) and moving (things, frames), booleans, as in
    `imap.shapes.world.drawing.Drawn`; nouns and verbs, the things' words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, scene in enumerate(tqdm(list(scenes(seed, count, conditions)), "rendering")):
        drawn = draw([scene], *size)
        name = f"{index:03}-{scene.caption.replace(' ', '-')}"
        write_video(folder / f"{name}.mp4", drawn.frames[0].numpy(), fps)
        words = {f"{kind}s": [getattr(thing, kind) for thing in scene.things] for kind in ("noun", "verb")}
        arrays = {part: getattr(drawn, part)[0].numpy() for part in ("masks", "moving")}
        np.savez_compressed(folder / f"truth-{name}.npz", **arrays, **words)
        entries.append(
            {
                "caption": scene.caption,
                "concepts": ", ".join(scene.concepts),
                "object": ", ".join(scene.motions),
                "video_path": f"{name}.mp4",
            }
        )
    path = folder / "clips.json"
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Render as the command line says."""
    parser = argparse.ArgumentParser(
        description=f"Render clips of the embedded world, version {VERSION}, with their ground truth and the list that "
        "main_Renoising.py input_json= reads.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the clips go")
    parser.add_argument("--count", type=int, default=8, help="clips")
    parser.add_argument("--num_frames", type=int, default=25, help="4k+1")
    parser.add_argument("--height", type=int, default=64, help="pixels")
    parser.add_argument("--width", type=int, default=64, help="pixels")
    parser.add_argument("--fps", type=int, default=8, help="frames per second")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes")
    for name in Conditions.__dataclass_fields__:
        default = getattr(Conditions(), name)
        parser.add_argument(f"--{name}", type=float, default=default, help="share of the clips that have it")
    told = parser.parse_args()
    conditions = Conditions(**{name: getattr(told, name) for name in Conditions.__dataclass_fields__})
    size = (told.num_frames, told.height, told.width)
    path = render(told.folder, told.count, size, told.fps, told.seed, conditions)
    print(f"{path}: python main_Renoising.py input_json={path}")


if __name__ == "__main__":
    main()
