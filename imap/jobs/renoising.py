"""The renoising job: noise a real clip to a step of the schedule, read one forward pass (docs/method.md, 7)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from imap.backbones.base import Backbone
from imap.config.checks import check_boolean, check_guidance, check_seed, check_steps, check_text
from imap.config.method import check_range
from imap.config.presets import preset_for
from imap.config.run import Run, check_renoise_timestep
from imap.config.samples import Sample
from imap.errors import ImapError
from imap.jobs.clean_latents import clean_and_noise
from imap.jobs.noise_schedule import add_noise_at, no_progress_bar, set_schedule, truncated_schedule
from imap.jobs.output import Output
from imap.jobs.posterior_cache import PosteriorCache
from imap.jobs.sample_clip import pictures_for, read_sample, read_truth
from imap.jobs.timing import Progress, Stages
from imap.media.clips import FittedClip, to_pixels
from imap.media.pictures import fit_pictures
from imap.saliency import Maps
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.start import start_trace
from imap.tracing.trace import Trace


@dataclass(frozen=True)
class RenoiseSettings:
    """How a clip is noised and read. `renoise_timestep` holds indices into a schedule of `num_inference_steps`."""

    prompt: str
    num_inference_steps: int
    renoise_timestep: tuple[int, ...]
    test_full_denoise: bool
    guidance_scale: float
    negative_prompt: str
    seed: int


@dataclass(frozen=True)
class Renoised:
    """Maps of a real clip.

    Attributes:
        maps: the saliency maps.
        latents: the latents that the pipeline returned, in its own layout. None after `test_full_denoise`.
        frames: uint8 (frames, height, width, 3): the clip as it was read, or with `test_full_denoise` the denoised
            video. None when only latents were given.
        times: seconds of the clip at which each frame is shown and the last one ends. None without a clock.
        seconds: by stage.
    """

    maps: Maps
    latents: Tensor | None = field(repr=False)
    frames: np.ndarray | None = field(default=None, repr=False)
    times: tuple[float, ...] | None = field(default=None, repr=False)
    seconds: dict[str, float] = field(default_factory=dict)


def renoise_settings(
    tracing: Trace,
    prompt: str,
    num_inference_steps: int | None,
    renoise_timestep: int | Sequence[int] | None,
    test_full_denoise: bool,
    guidance_scale: float | None,
    negative_prompt: str,
    seed: int,
) -> RenoiseSettings:
    """Checked settings; None takes the paper's value for the traced model. Raises ImapError for steps out of range."""
    backbone = tracing.backbone
    check_pipeline(backbone)
    paper = preset_for(backbone.family, backbone.num_layers, backbone.num_heads).paper
    steps = check_steps(paper["num_inference_steps"] if num_inference_steps is None else num_inference_steps)
    seed, full = check_seed(seed), check_boolean("test_full_denoise", test_full_denoise)
    check_text("prompt", prompt)
    check_text("negative_prompt", negative_prompt)
    indices = paper["renoise_timestep"] if renoise_timestep is None else renoise_timestep
    check_range(tracing.method.maps_timesteps, steps)
    chosen = tracing.method.effect
    if not isinstance(chosen, bool) and not all(isinstance(x, float) for x in chosen):
        raise ImapError(f"effect={list(chosen)}: a clip is read at renoise_timestep; set effect=true")
    indices = check_renoise_timestep(indices, steps, tracing.method.maps_timesteps, full)
    guidance = check_guidance(paper["guidance_scale"] if guidance_scale is None else guidance_scale)
    return RenoiseSettings(prompt, steps, indices, full, guidance, negative_prompt, seed)


def check_pipeline(backbone: Backbone) -> None:
    """Raise ImapError for a pipeline that cannot be called with noised latents as the text-to-video one is."""
    pipe, kind = backbone.pipe, type(backbone.pipe).__name__
    if backbone.renoising_refusal:
        raise ImapError(f"imap.renoise cannot give noised latents to a {kind}: {backbone.renoising_refusal}")
    if not {"latents", backbone.frames_argument} <= set(signature(type(pipe).__call__).parameters):
        raise ImapError(
            f"imap.renoise calls the pipeline itself, and a {kind} takes no latents and {backbone.frames_argument}; "
            f"use {backbone.pipeline_class}.from_pipe(pipe)"
        )
    factors = (getattr(pipe, "vae_scale_factor_spatial", None), getattr(pipe, "vae_scale_factor_temporal", None))
    expected = (backbone.spatial_factor, backbone.temporal_factor)
    if any(own not in (None, known) for own, known in zip(factors, expected, strict=True)):
        raise ImapError(
            f"imap.renoise knows {backbone.family} models whose VAE divides space by {expected[0]} and time by "
            f"{expected[1]}, and this {kind} divides by {factors[0]} and {factors[1]}; use imap.trace"
        )


def renoise_clip(
    tracing: Trace,
    settings: RenoiseSettings,
    source: FittedClip | Tensor,
    noise: Tensor | None = None,
    progress: Progress | None = None,
    cache: PosteriorCache | None = None,
    pictures: Mapping[str, Any] | None = None,
) -> Renoised:
    """Noise a clip to each index, run one forward pass each, and read it. See `imap.renoise`.

    Args:
        source: a clip, or clean latents.
        noise: of the latents' shape; None draws it from the seed.
        progress, cache: as in `sample_video` and `clean_and_noise`.
        pictures: of an image-to-video model, by argument of its call; frames of the clip replace missing ones.
    """
    backbone, clip = tracing.backbone, source if isinstance(source, FittedClip) else None
    pipe, pixels_or_latents = backbone.pipe, source.frames if isinstance(source, FittedClip) else source
    given = pictures_for(backbone, pictures or {}, with_clip=clip is not None)
    stages, generator = Stages(pipe._execution_device, progress), torch.Generator("cpu").manual_seed(settings.seed)
    clean, noise = clean_and_noise(backbone, pixels_or_latents, noise, generator, stages, cache)
    size = _pixels(pixels_or_latents) or backbone.pixels_of(clean)
    fitted = fit_pictures(given, size["height"], size["width"], clip.frames if clip else None)
    for note in (*(clip.notes if clip else ()), *fitted.notes):
        tracing.text_slots.note(note)
    if tracing.effect is not None and not settings.test_full_denoise:
        tracing.effect.every_step = True
    tracing.reads = None if settings.test_full_denoise else len(settings.renoise_timestep)
    guided = settings.test_full_denoise and settings.guidance_scale > 1
    with ExitStack() as opened:
        with stages.stage("encode_text"), torch.no_grad():
            opened.enter_context(tracing)
            text = tracing.encode_prompt(settings.prompt, settings.negative_prompt if guided else None)
        if not settings.test_full_denoise:
            opened.enter_context(no_progress_bar(pipe))
        guidance = backbone.guidance(settings.guidance_scale, conditional_only=not settings.test_full_denoise)
        video = {**text, **backbone.size_arguments(**size), **opened.enter_context(guidance)}
        job = _Denoising(tracing, video, fitted.arguments, settings, generator, stages)
        indices = settings.renoise_timestep
        for index in tqdm(indices, "renoising", leave=False, disable=len(indices) == 1):
            result = job.run(clean, noise, index)
    with stages.stage("maps"):
        maps = tracing.maps()
    facts = ({"clip": clip.record} if clip else {}) | ({"pictures": fitted.record} if given else {})
    maps = replace(maps, facts={**maps.facts, **facts}) if facts else maps
    times = clip.times if clip else None
    if settings.test_full_denoise:
        return Renoised(maps, None, to_pixels(result[0]), times, stages.seconds)
    return Renoised(maps, result, clip.frames if clip else None, times, stages.seconds)


def _pixels(source: np.ndarray | Tensor) -> dict[str, int] | None:
    """Size of a clip, as arguments of a pipeline call; None for latents."""
    if isinstance(source, Tensor) or source.ndim != 4:
        return None
    frames, height, width, _ = source.shape
    return {"height": height, "width": width, "num_frames": frames}


@dataclass(frozen=True)
class _Denoising:
    """The stock pipeline on a part of its schedule: one step without guidance, or all that follow with it."""

    tracing: Trace
    video: dict[str, Any]  # arguments of the pipeline call: text, size and guidance
    pictures: Mapping[str, Any]  # further arguments
    settings: RenoiseSettings
    generator: torch.Generator
    stages: Stages

    def run(self, clean: Tensor, noise: Tensor, index: int) -> Any:
        backbone = self.tracing.backbone
        pipe, scheduler = backbone.pipe, backbone.pipe.scheduler
        steps, to_the_end = self.settings.num_inference_steps, self.settings.test_full_denoise
        call = {**self.video, **self.pictures, "num_inference_steps": steps}
        set_schedule(pipe, **call, latents=backbone.to_pipeline(clean).to(backbone.latent_dtype))
        noised = add_noise_at(scheduler, clean, noise, index)
        drawn, again = (torch.Generator("cpu").manual_seed(self.settings.seed) for _ in range(2))  # of the picture
        start = backbone.to_pipeline(backbone.start(noised, self.pictures, drawn)).to(backbone.latent_dtype)
        last = steps - 1 - index if to_the_end else 0
        place = (
            None if to_the_end else (self.settings.renoise_timestep.index(index), len(self.settings.renoise_timestep))
        )
        self.tracing.steps.begin_call(index, steps)
        with (
            truncated_schedule(scheduler, index, None if to_the_end else index + 1),
            self.stages.denoise_then(last, "decode" if to_the_end else "finish", place, pipe) as timing,
        ):
            return pipe(
                **call,
                **timing,
                latents=start,
                generator=again if self.pictures else self.generator,
                output_type="np" if to_the_end else "latent",
            ).frames


def renoise_video(
    pipe: Any,
    sample: Sample,
    run: Run,
    observe: Callable[..., None] | None = None,
    clip: Callable[[], tuple[FittedClip, float]] | None = None,
    prompt_cache: PromptCache | None = None,
    progress: Progress | None = None,
    cache: PosteriorCache | None = None,
) -> Output:
    """Maps of a sample's clip, with the video: the clip as the model got it, or the result of `test_full_denoise`.

    Args:
        observe, prompt_cache: as in `imap.trace`.
        clip: returns the result of `read_sample`, for a clip that is already being read.
        progress, cache: as in `sample_video` and `clean_and_noise`.
    """
    fitted, seconds = clip() if clip is not None else read_sample(sample, run.fit)
    words = (sample.prompt, sample.concepts, sample.motions)
    tracing = start_trace(pipe, *words, run.method, observe, prompt_cache)
    settings = renoise_settings(
        tracing,
        sample.prompt,
        run.num_inference_steps,
        run.renoise_timestep,
        run.test_full_denoise,
        run.guidance_scale,
        run.negative_prompt,
        run.seed,
    )
    result = renoise_clip(tracing, settings, fitted, progress=progress, cache=cache, pictures=sample.pictures)
    kind = "denoised from the noised clip" if run.test_full_denoise else "the clip"
    record = {"video": kind, "seconds": {**result.seconds, "decode_clip": round(seconds, 4)}}
    frames = fitted.frames if result.frames is None else result.frames
    times = None if run.fps is not None else fitted.times_of(len(frames))
    # a denoised video need not show what the clip does
    truth = None if run.test_full_denoise else read_truth(sample, fitted, run.fit)
    return Output(frames, result.maps, record, times, truth)
