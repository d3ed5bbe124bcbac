"""Maps at the size and rate of their video: time as in the causal VAE, space smooth or in blocks."""

import numpy as np
from PIL import Image

SPACE = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}


def latent_frame(frame: int, latent_frames: int, frames: int) -> int:
    """The latent frame of a video frame: the first covers one frame, each later one the same number, often 4."""
    if latent_frames == 1 or frame == 0:
        return 0
    return 1 + (frame - 1) * (latent_frames - 1) // (frames - 1)


def middle_frame(latent: int, latent_frames: int, frames: int) -> int:
    """The middle of the video frames that a latent frame covers."""
    own = [frame for frame in range(frames) if latent_frame(frame, latent_frames, frames) == latent]
    return own[len(own) // 2]


def enlarge(x: np.ndarray, height: int, width: int, space: str = "bilinear") -> np.ndarray:
    """One frame of a map (h, w) in [0, 1] to float32 (height, width). space: bilinear or nearest."""
    return np.asarray(Image.fromarray(x.astype(np.float32)).resize((width, height), SPACE[space]))
