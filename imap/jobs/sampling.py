"""The sampling job: a stock pipeline makes a video from a prompt while its maps are read."""

from contextlib import ExitStack
from typing import Any

import torch

from imap.config.run import Run
from imap.config.samples import Sample
from imap.jobs.output import Output
from imap.jobs.timing import Stages
from imap.media.clips import to_pixels
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.start import start_trace


def sample_video(pipe: Any, sample: Sample, run: Run, prompt_cache: PromptCache | None = None) -> Output:
    """Sample one video with its maps. One CPU generator draws everything, so noise is the same on every device.

    prompt_cache: of the list that the sample is in, as in `imap.trace`.
    """
    stages, generator = Stages(pipe._execution_device), torch.Generator("cpu").manual_seed(run.seed)
    with ExitStack() as opened:
        with stages.stage("encode_text"), torch.no_grad():
            words = (sample.prompt, sample.concepts, sample.motions)
            tracing = opened.enter_context(start_trace(pipe, *words, run.method, prompt_cache=prompt_cache))
            backbone = tracing.backbone
            text = tracing.encode_prompt(sample.prompt, run.negative_prompt if run.guidance_scale > 1 else None)
        timing = opened.enter_context(stages.denoise_then(run.num_inference_steps - 1, "decode"))
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
