"""The sampling job: a stock pipeline makes a video from a prompt, and its maps are read during the steps or after."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from imap.config.run import AFTER, BOTH, DURING, Run
from imap.config.samples import Sample
from imap.jobs.output import Output
from imap.jobs.reading import READING, both_readings, read_finished, trace_of_finished
from imap.jobs.renoising import RenoiseSettings, check_pipeline
from imap.jobs.sample_clip import pictures_for
from imap.jobs.timing import Progress, Stages
from imap.media.clips import to_pixels
from imap.media.pictures import fit_pictures
from imap.saliency import Maps
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.start import start_trace, trace_again
from imap.tracing.trace import Trace


def sample_video(
    pipe: Any, sample: Sample, run: Run, prompt_cache: PromptCache | None = None, progress: Progress | None = None
) -> Output:
    """Sample one video with its maps. One CPU generator draws everything, so noise is the same on every device.

    Args:
        prompt_cache: of the list that the sample is in, as in `imap.trace`.
        progress: is called at each stage and step, with the stage, the steps done and all steps. Its error
            ends the job.
    """
    stages, generator = Stages(pipe._execution_device, progress), torch.Generator("cpu").manual_seed(run.seed)
    tracing = start_trace(pipe, sample.prompt, sample.concepts, sample.motions, run.method, prompt_cache=prompt_cache)
    backbone = tracing.backbone
    if run.read != DURING:
        check_pipeline(backbone)
    given = pictures_for(backbone, sample.pictures)
    pictures = fit_pictures(given, run.height, run.width)
    for note in pictures.notes:
        tracing.text_slots.note(note)
    # of both readings, that of the finished video has the effect
    reading = trace_again(tracing, effect=False) if run.read == BOTH else tracing
    with ExitStack() as opened:
        with stages.stage("encode_text"), torch.no_grad():
            if run.read != AFTER:
                opened.enter_context(reading)
            text = reading.encode_prompt(sample.prompt, run.negative_prompt if run.guidance_scale > 1 else None)
        timing = opened.enter_context(stages.denoise_then(run.num_inference_steps - 1, "decode", pipe=pipe))
        guidance = opened.enter_context(backbone.guidance(run.guidance_scale, conditional_only=False))
        frames = pipe(
            **text,
            **pictures.arguments,
            **backbone.size_arguments(run.num_frames, run.height, run.width),
            num_inference_steps=run.num_inference_steps,
            generator=generator,
            output_type="np",
            **guidance,
            **timing,
        ).frames[0]
    with stages.stage("maps"):
        readings = [] if run.read == AFTER else [reading.maps()]
    if run.read != DURING:
        with stages.stage("read_after"):
            readings.append(_read_after(tracing, sample, run, stages))
    maps = both_readings(*readings) if run.read == BOTH else readings[0]
    if given:
        maps = replace(maps, facts={**maps.facts, "pictures": pictures.record})
    return Output(to_pixels(frames), maps, {"video": "sampled", "seconds": stages.seconds})


def _read_after(tracing: Trace, sample: Sample, run: Run, stages: Stages) -> Maps:
    settings = RenoiseSettings(
        prompt=sample.prompt,
        num_inference_steps=run.num_inference_steps,
        renoise_timestep=run.renoise_timestep,
        test_full_denoise=False,
        guidance_scale=run.guidance_scale,
        negative_prompt="",
        seed=run.seed + READING,
    )
    backbone, latents = tracing.backbone, stages.latents
    # those of the loop may be packed to tokens, in a layout of its own, or hold a condition
    latents = backbone.from_pipeline(latents, backbone.grid_of(run.num_frames, run.height, run.width))
    latents = latents.movedim(1, backbone.channel_axis)
    return read_finished(
        trace_of_finished(tracing), latents, settings, progress=stages.progress, pictures=sample.pictures
    )
