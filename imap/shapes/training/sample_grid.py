"""Samples while a model learns: a sheet of generated frames, and whether they obey their captions."""

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
from imap.shapes.training.caption_fidelity import Verdict, look
from imap.shapes.world.scenes import Conditions, Scene, scenes

SEEDS = 30_000_000  # of the captions asked for, apart from every other use
BATCH = 10
STEPS, GUIDANCE = 20, 4.0


def captions_to_sample(count: int) -> list[Scene]:
    """Scenes of two different nouns, so that colours tell the things apart."""
    return list(scenes(SEEDS, count, Conditions(twins=0.0)))


@torch.no_grad()
def sampled(pipe: Any, asked: Sequence[Scene], clip: tuple[int, int, int], seed: int) -> np.ndarray:
    """Videos for the captions of scenes, uint8 (scenes, f, h, w, 3)."""
    backbone = backbone_of(pipe)
    pipe.set_progress_bar_config(disable=True)
    videos = []
    for start in tqdm(range(0, len(asked), BATCH), "sampling captions", unit="batch", leave=False):
        prompts = [scene.caption for scene in asked[start : start + BATCH]]
        negative = [""] * len(prompts) if backbone.takes_negative_prompt else None
        found = pipe(
            **backbone.encode_prompt(prompts, negative),
            height=clip[1],
            width=clip[2],
            num_frames=clip[0],
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(seed + start),
            output_type="np",
            **backbone.guidance_arguments(GUIDANCE, conditional_only=False),
        ).frames
        videos += [to_pixels(video) for video in found]
    return np.stack(videos)


def write_grid(videos: np.ndarray, path: Path, rows: int = 8, columns: int = 9) -> None:
    """A PNG of some videos, one a row, frames across."""
    frames = np.linspace(0, videos.shape[1] - 1, columns).round().astype(int)
    sheet = rearrange(videos[:rows, frames], "b f h w c -> (b h) (f w) c")
    iio.imwrite(path, sheet.repeat(2, axis=0).repeat(2, axis=1))


def judged(videos: np.ndarray, asked: Sequence[Scene]) -> list[Verdict]:
    """What each video shows of what its caption names."""
    return [seen for video, scene in zip(videos, asked, strict=True) for seen in look(video, scene)]
