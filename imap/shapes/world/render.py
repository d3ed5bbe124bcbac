"""Clips of the embedded world as video files, with their ground truth and the list that `imap renoise` reads."""

import json
from pathlib import Path

from tqdm import tqdm

from imap.media.truth import Truth, truth_path, write_truth
from imap.media.video_io import write_video
from imap.shapes.world.drawing import draw
from imap.shapes.world.scenes import Conditions, scenes

SEED = 60_000_000  # of the shipped clips


def render(folder: Path, count: int, size: tuple[int, int, int], fps: int, seed: int, conditions: Conditions) -> Path:
    """Write clips, their ground truth, and clips.json with one entry per clip.

    Each clip has a file truth-<clip>.npz. It holds masks (things, frames, height, width) and moving (things, frames),
    booleans as in `imap.shapes.world.drawing.Drawn`, and nouns and verbs, the words of the things.

    Args:
        folder: Folder of the files; it is created.
        count: Number of clips.
        size: Frames, height and width in pixels.
        fps: Frames per second of the video files.
        seed: Seed of the scenes.
        conditions: Shares of clips with twins, texture, pan, occlusion and trails.

    Returns:
        Path of clips.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, scene in enumerate(tqdm(list(scenes(seed, count, conditions)), "rendering")):
        drawn = draw([scene], *size)
        name = f"{index:03}-{scene.caption.replace(' ', '-')}"
        clip = folder / f"{name}.mp4"
        write_video(clip, drawn.frames[0].numpy(), fps)
        nouns, verbs = [thing.noun for thing in scene.things], [thing.verb for thing in scene.things]
        write_truth(truth_path(clip), Truth(nouns, verbs, drawn.masks[0].numpy(), drawn.moving[0].numpy()))
        entries.append(
            {
                "caption": scene.caption,
                "concepts": ", ".join(scene.concepts),
                "object": ", ".join(scene.motions),
                "video_path": clip.name,
            }
        )
    path = folder / "clips.json"
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return path
