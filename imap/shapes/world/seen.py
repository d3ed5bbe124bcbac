"""What a generated video shows, told by colour alone: where each thing is, and in which frames it moves."""

import numpy as np
import torch

from imap.shapes.world.scenes import FLASH, NOUNS, WHITE, Scene
from imap.shapes.world.truth import Things

NEAR = 70.0  # largest RGB distance at which a pixel has a noun's colour, or its flashing colour
SEEN = 0.008  # least share of a frame's pixels of an object that is there
PRESENT = 0.6  # least share of frames in which an object of the video is there
AWAY = 0.08  # least change of height in a frame of a jump or dip, in heights of the frame
GROWN = 1.35  # least growth of area in a frame of growing
COLOURS = np.array(list(NOUNS.values()), np.float32)
FLASHES = COLOURS + FLASH * (WHITE - COLOURS)


def kinds(video: np.ndarray) -> np.ndarray:
    """Noun number of each pixel's colour, (f, h, w): plus len(NOUNS) for a flashing colour, -1 for none.

    video: uint8 (f, h, w, 3).
    """
    colours = np.concatenate([COLOURS, FLASHES])
    distances = np.stack([np.linalg.norm(video.astype(np.float32) - colour, axis=-1) for colour in colours])
    return np.where(distances.min(axis=0) < NEAR, distances.argmin(axis=0), -1)


def seen_things(video: np.ndarray, scene: Scene) -> Things | None:
    """The things of a scene as a generated video shows them. None if one of them is not in it.

    Args:
        video: uint8 (f, h, w, 3).
        scene: that the video's caption describes; its nouns differ.
    """
    found = kinds(video)
    masks, moving = [], []
    for thing in scene.things:
        number = list(NOUNS).index(thing.noun)
        flash = found == number + len(NOUNS)
        mask = (found == number) | flash
        area = mask.mean(axis=(1, 2))
        there, ends = area > SEEN, np.isin(np.arange(len(mask)), [0, 1, len(mask) - 2, len(mask) - 1])
        if there.mean() < PRESENT or not (there & ends).any():
            return None
        height = mean_heights(mask)
        rest, size = height[there & ends].mean(), area[there & ends].mean()
        moves = {
            "jumps": height < rest - AWAY,
            "dips": height > rest + AWAY,
            "grows": area > GROWN * size,
            "flashes": 2 * flash.sum(axis=(1, 2)) > mask.sum(axis=(1, 2)),
            "stays": np.zeros(len(mask), bool),
        }
        masks.append(mask)
        moving.append(moves[thing.verb] & there)
    tensors = (torch.from_numpy(np.stack(masks)).float(), torch.from_numpy(np.stack(moving)))
    return Things([thing.noun for thing in scene.things], [thing.verb for thing in scene.things], *tensors)


def mean_heights(mask: np.ndarray) -> np.ndarray:
    """Mean height of an object in each frame, from the top, in heights of the frame; (f,). mask: (f, h, w)."""
    rows = (np.arange(mask.shape[1]) + 0.5) / mask.shape[1]
    weights = mask.sum(axis=2)
    return (weights * rows).sum(axis=1) / weights.sum(axis=1).clip(min=1)
