"""Sample grid: generated frames as a picture, and their caption fidelity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from einops import rearrange
from tqdm import tqdm

from imap.backbones import backbone_of
from imap.media.clips import to_pixels
from imap.shapes.training.caption_fidelity import Verdict, judge
from imap.shapes.world.scenes import Conditions, Scene, scenes

SEEDS = 30_000_000  # seed of the sampled captions; no other use has this seed
BATCH = 10
STEPS, GUIDANCE = 20, 4.0


def captions_to_sample(count: int) -> list[Scene]:
    """Scenes of two different nouns, so that colours identify the objects."""
    return list(scenes(SEEDS, count, Conditions(twins=0.0)))


@torch.no_grad()
def sample_videos(pipe: Any, shown: Sequence[Scene], clip: tuple[int, int, int], seed: int) -> np.ndarray:
    """Sample a video for the caption of each scene.

    Args:
        pipe: The pipeline.
        shown: Scenes.
        clip: Frames, height and width.
        seed: Seed of the noise.

    Returns:
        Videos, uint8 (scenes, f, h, w, 3).
    """
    backbone = backbone_of(pipe)
    pipe.set_progress_bar_config(disable=True)
    videos = []
    for start in tqdm(range(0, len(shown), BATCH), "sampling captions", unit="batch", leave=False):
        prompts = [scene.caption for scene in shown[start : start + BATCH]]
        negative = [""] * len(prompts) if backbone.takes_negative_prompt else None
        with backbone.guidance(GUIDANCE, conditional_only=False) as guidance:
            batch = pipe(
                **backbone.encode_prompt(prompts, negative),
                height=clip[1],
                width=clip[2],
                num_frames=clip[0],
                num_inference_steps=STEPS,
                generator=torch.Generator().manual_seed(seed + start),
                output_type="np",
                **guidance,
            ).frames
        videos += [to_pixels(video) for video in batch]
    return np.stack(videos)


def write_grid(videos: np.ndarray, path: Path, rows: int = 8, columns: int = 9) -> None:
    """Write a PNG with one video per row and its frames in columns.

    Args:
        videos: uint8 (videos, f, h, w, 3).
        path: Path of the PNG.
        rows: Largest number of videos.
        columns: Number of frames.
    """
    frames = np.linspace(0, videos.shape[1] - 1, columns).round().astype(int)
    grid = rearrange(videos[:rows, frames], "b f h w c -> (b h) (f w) c")
    iio.imwrite(path, grid.repeat(2, axis=0).repeat(2, axis=1))


def judge_videos(videos: np.ndarray, shown: Sequence[Scene]) -> list[Verdict]:
    """Verdicts on all objects of videos, which were sampled for the captions of scenes."""
    return [verdict for video, scene in zip(videos, shown, strict=True) for verdict in judge(video, scene)]
