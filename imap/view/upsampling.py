"""Maps at the size and rate of their video: time as in the causal VAE, space smooth or in blocks."""

import numpy as np
from PIL import Image

TEMPORAL = 4  # video frames per latent frame after the first, in most models
SPACE = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}


def latent_frame(frame: int, latent_frames: int, frames: int) -> int:
    """The frame of a map, or latent frame, that covers a video frame.

    The first latent frame covers one video frame, each later one the same number, often 4. Two cases differ:
    CogVideoX's VAE decodes an even number of latent frames to 4 each, the first too; and CogVideoX 1.5 has a map frame
    for every two latent frames, with padding before an odd number.
    """
    if latent_frames == 1:
        return 0
    alike = frames % TEMPORAL == 0
    in_video = frames // TEMPORAL if alike else (frames - 1) // TEMPORAL + 1
    patch = -(-in_video // latent_frames)
    padded = patch * latent_frames - in_video
    if alike or (patch > padded and patch > 1 and (frames - 1) % TEMPORAL == 0):
        latent = frame // TEMPORAL if alike else -(-frame // TEMPORAL)
        return (latent + padded) // patch
    return 1 + (frame - 1) * (latent_frames - 1) // (frames - 1) if frame else 0


def middle_frame(latent: int, latent_frames: int, frames: int) -> int:
    """The middle of the video frames that a latent frame covers."""
    own = [frame for frame in range(frames) if latent_frame(frame, latent_frames, frames) == latent]
    return own[len(own) // 2]


def enlarge(x: np.ndarray, height: int, width: int, space: str = "bilinear") -> np.ndarray:
    """One frame of a map (h, w) in [0, 1] to float32 (height, width). space: bilinear or nearest."""
    return np.asarray(Image.fromarray(x.astype(np.float32)).resize((width, height), SPACE[space]))
