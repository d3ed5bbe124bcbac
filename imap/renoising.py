"""The renoising job: a real clip is noised to a step of the schedule and read in one forward pass (METHOD 7)."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from tqdm import tqdm

from imap.api import trace
from imap.backbones.base import Backbone
from imap.clips import Fit, as_clip, check_video_size, fit_clip, to_pixels, to_tensor
from imap.encodings import Encodings
from imap.errors import ImapError
from imap.presets import preset_for
from imap.results import Maps, Output
from imap.samples import Sample
from imap.schedule import noised, part_of_schedule
from imap.settings.run import Run, check_renoise_timestep
from imap.timing import Stages
from imap.tracing import Trace


@dataclass(frozen=True)
class Renoised:
    """Maps of a real clip; the latents that the pipeline left, in its own layout (None once they are decoded); frames,
    uint8 (frames, height, width, 3): the clip as it was read, or with `test_full_denoise` what it was denoised to;
    seconds by stage."""

    maps: Maps
    latents: Tensor | None = field(repr=False)
    frames: np.ndarray | None = field(default=None, repr=False)
    seconds: dict[str, float] = field(default_factory=dict)


def renoise(
    pipe: Any,
    clip: str | Path | np.ndarray | Sequence[Any] | None = None,
    latents: Tensor | None = None,
    noise: Tensor | None = None,
    prompt: str = "",
    concepts: str | Sequence[str] | None = None,
    motions: str | Sequence[str] | None = None,
    *,
    num_inference_steps: int | None = None,
    renoise_timestep: int | Sequence[int] | None = None,
    test_full_denoise: bool = False,
    guidance_scale: float | None = None,
    negative_prompt: str = "",
    seed: int = 42,
    height: int | None = None,
    width: int | None = None,
    num_frames: int | None = None,
    resize: str = "none",
    frames: str = "none",
    **method: Any,
) -> Renoised:
    """Maps of a real clip: noise it to each index of `renoise_timestep`, run one conditional forward pass, read it.

    clip: a video file, frames (frames, height, width, 3) of uint8 or of floats in [0, 1], or PIL images. latents: in
    its place, the clean latents, scaled as the transformer sees them, (1, channels, frames, height, width) or in the
    pipeline's own layout. noise: of the same
    shape; drawn from `seed` when not given. test_full_denoise: denoise from the first index to the end instead,
    with guidance, and decode. height, width, num_frames, resize, frames: what the clip must be, and whether it may be
    resampled to it (see `imap.clips.Fit`). method: the settings of `imap.trace`. The rest defaults to the paper's
    settings for the model. Raises ImapError for what does not fit, before anything runs.
    """
    if (clip is None) == (latents is None):
        raise ImapError("give either clip= (a video file or frames) or latents= (clean latents), and not both")
    tracing = trace(pipe, prompt, concepts, motions, **method)
    backbone = tracing.backbone
    paper = preset_for(backbone.family, backbone.num_layers, backbone.num_heads).paper
    steps = num_inference_steps or paper["num_inference_steps"]
    indices = paper["renoise_timestep"] if renoise_timestep is None else renoise_timestep
    indices = check_renoise_timestep(indices, steps, tracing.method.maps_timesteps, test_full_denoise)
    tracing.method.check_steps(steps)
    guidance = paper["guidance_scale"] if guidance_scale is None else guidance_scale

    stages, generator = Stages(pipe._execution_device), torch.Generator("cpu").manual_seed(seed)
    if clip is not None:
        with stages.stage("decode_clip"):
            name = str(clip) if isinstance(clip, str | Path) else "the clip"
            clip = fit_clip(as_clip(clip), Fit(height, width, num_frames, resize, frames), name)
    clean, noise = _clean_and_noise(backbone, clip, latents, noise, generator, stages)
    with ExitStack() as opened:
        with stages.stage("encode_text"), torch.no_grad():
            opened.enter_context(tracing)
            text = tracing.encode_prompt(prompt, negative_prompt if test_full_denoise and guidance > 1 else None)
        if not test_full_denoise:
            opened.enter_context(_no_progress_bar(pipe))
        job = _Denoising(tracing, text, steps, guidance, test_full_denoise, generator, stages)
        for index in tqdm(indices, "renoising", leave=False, disable=len(indices) == 1):
            result = job.run(clean, noise, index)
    with stages.stage("maps"):
        maps = tracing.maps()
    if test_full_denoise:
        return Renoised(maps, None, to_pixels(result[0]), stages.seconds)
    return Renoised(maps, result, clip, stages.seconds)


def _clean_and_noise(
    backbone: Backbone,
    clip: np.ndarray | None,
    latents: Tensor | None,
    noise: Tensor | None,
    generator: torch.Generator,
    stages: Stages,
) -> tuple[Tensor, Tensor]:
    """Clean latents and noise in the pipeline's layout, float32, on its device.

    The noise is drawn first, also where it is given: so it is the same on every device, and all that is drawn later
    does not depend on how the clip came.
    """
    if clip is not None:
        frames, height, width, _ = clip.shape
        multiple = backbone.size_multiple(backbone.transformer.config.patch_size)
        check_video_size(height, width, frames, multiple, backbone.temporal_factor)
        shape = backbone.latent_shape(frames, height, width)
    else:
        latents = _own_layout(backbone, latents)
        shape = tuple(latents.shape)
    drawn = randn_tensor(shape, generator=generator, dtype=backbone.latent_dtype)
    noise = drawn if noise is None else _own_layout(backbone, noise)
    if noise.shape != shape:
        raise ImapError(f"noise of shape {tuple(noise.shape)} is not of the latents' shape {shape}")
    if latents is None:
        with stages.stage("encode_clip"), torch.no_grad():
            latents = backbone.encode_clip(to_tensor(clip), generator)
            backbone.pipe.maybe_free_model_hooks()  # under model offload, the VAE need not stay
    device = backbone.pipe._execution_device
    return latents.to(device=device, dtype=torch.float32), noise.to(device=device, dtype=torch.float32)


@dataclass(frozen=True)
class _Denoising:
    """The stock pipeline on a part of its schedule: one step without guidance, or all that follow with it."""

    tracing: Trace
    text: dict[str, Tensor]
    steps: int
    guidance_scale: float
    to_the_end: bool
    generator: torch.Generator
    stages: Stages

    def run(self, clean: Tensor, noise: Tensor, index: int) -> Any:
        backbone = self.tracing.backbone
        pipe, scheduler = backbone.pipe, backbone.pipe.scheduler
        backbone.set_schedule(self.steps)
        start = noised(scheduler, clean, noise, index).to(backbone.latent_dtype)
        height, width = (size * backbone.spatial_factor for size in start.shape[-2:])
        frames = (backbone.latent_frames(start) - 1) * backbone.temporal_factor + 1
        stop = None if self.to_the_end else index + 1
        last = self.steps - 1 - index if self.to_the_end else 0
        self.tracing.steps.begin_call(index, self.steps)
        with (
            part_of_schedule(scheduler, index, stop),
            self.stages.denoise_then(last, "decode" if self.to_the_end else "finish") as timing,
        ):
            return pipe(
                **self.text,
                latents=start,
                height=height,
                width=width,
                num_frames=frames,
                num_inference_steps=self.steps,
                generator=self.generator,
                output_type="np" if self.to_the_end else "latent",
                **backbone.guidance_arguments(self.guidance_scale, conditional_only=not self.to_the_end),
                **timing,
            ).frames


def read_sample(sample: Sample, fit: Fit) -> tuple[np.ndarray, float]:
    """The clip of a sample at the size and length that are asked for, and the seconds that it took."""
    start = time.perf_counter()
    return fit_clip(as_clip(sample.video_path), fit, str(sample.video_path)), time.perf_counter() - start


def renoise_video(
    pipe: Any,
    sample: Sample,
    run: Run,
    observe: Callable[..., None] | None = None,
    clip: Callable[[], tuple[np.ndarray, float]] | None = None,
    encodings: Encodings | None = None,
) -> Output:
    """Maps of a sample's clip. Its video is the clip as the model got it, or what `test_full_denoise` made of it.

    observe, encodings: as in `imap.trace`. clip: gives what `read_sample` would, for one that is being read already.
    """
    frames, seconds = read_sample(sample, run.fit) if clip is None else clip()
    result = renoise(
        pipe,
        frames,
        prompt=sample.prompt,
        concepts=sample.concepts,
        motions=sample.motions,
        num_inference_steps=run.num_inference_steps,
        renoise_timestep=run.renoise_timestep,
        test_full_denoise=run.test_full_denoise,
        guidance_scale=run.guidance_scale,
        negative_prompt=run.negative_prompt,
        seed=run.seed,
        **run.method,
        observe=observe,
        encodings=encodings,
    )
    kind = "denoised from the noised clip" if run.test_full_denoise else "the clip"
    stages = {**result.seconds, "decode_clip": round(seconds, 4)}
    return Output(result.frames, result.maps, {"video": kind, "seconds": stages})


@contextmanager
def _no_progress_bar(pipe: Any) -> Iterator[None]:
    """One step of a schedule of fifty would leave the pipeline's own bar standing at 2 %."""
    before = getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(**{**(before or {}), "disable": True})
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe._progress_bar_config = before


def _own_layout(backbone: Backbone, latents: Tensor) -> Tensor:
    """Latents in the pipeline's layout, from it or from (1, channels, frames, height, width)."""
    channels = backbone.transformer.config.in_channels
    own, other = backbone.channel_axis, 3 - backbone.channel_axis  # frames and channels are axes 1 and 2
    if latents.ndim != 5 or channels not in latents.shape[1:3]:
        raise ImapError(
            f"latents of shape {tuple(latents.shape)} are not (1, {channels} channels, frames, height, width)"
        )
    return latents if latents.shape[own] == channels else latents.transpose(own, other)
