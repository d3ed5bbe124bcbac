"""The sampling job: a stock pipeline makes a video from a prompt while its maps are read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imap.clips import to_pixels
from imap.results import Maps
from imap.samples import Sample
from imap.settings.run import Run
from imap.stages import Stages
from imap.tracing import trace


@dataclass(frozen=True)
class Output:
    """What a job makes of one sample: uint8 frames (frames, height, width, 3), maps, and what to record of them."""

    frames: np.ndarray
    maps: Maps
    record: dict[str, Any]


def sample_video(pipe: Any, sample: Sample, run: Run) -> Output:
    """Sample one video with its maps. One CPU generator draws everything, so noise is the same on every device."""
    stages = Stages()
    with stages.stage("encode_text"):
        tracing = trace(pipe, sample.prompt, sample.concepts, sample.motions, **run.method)
        backbone = tracing.backbone
        guided = run.guidance_scale > 1
        with torch.no_grad():
            text = backbone.encode_prompt(sample.prompt, run.negative_prompt if guided else None)
    generator = torch.Generator("cpu").manual_seed(run.seed)
    with tracing, stages.denoise_then(run.num_inference_steps - 1, "decode") as timing:
        frames = pipe(
            **text,
            height=run.height,
            width=run.width,
            num_frames=run.num_frames,
            num_inference_steps=run.num_inference_steps,
            generator=generator,
            output_type="np",
            **backbone.guidance_arguments(run.guidance_scale, conditional_only=False),
            **timing,
        ).frames[0]
    with stages.stage("maps"):
        maps = tracing.maps()
    return Output(to_pixels(frames), maps, {"video": "sampled", "seconds": stages.seconds})
