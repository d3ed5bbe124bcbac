"""The public functions that read a real clip: `imap.renoise`, and `imap.effect` without attention."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imap.config.checks import positive
from imap.errors import ImapError
from imap.jobs.clean_latents import dense
from imap.jobs.renoising import Renoised, renoise_clip, renoise_settings
from imap.jobs.sample_clip import read_clip
from imap.media.clip_times import check_seconds
from imap.media.clips import Fit
from imap.methods.registry import EFFECT
from imap.saliency import Maps
from imap.tracing.start import start_trace


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
    seconds: Sequence[float] | None = None,
    image: Any = None,
    last_image: Any = None,
    **method: Any,
) -> Renoised:
    """Read the maps of a real clip (docs/method.md, 7).

    The clip is encoded, noised to each index of `renoise_timestep`, and read in one conditional forward pass. Maps of
    several indices are averaged. Settings that are None take the paper's value for the model.

    Args:
        pipe: a loaded video pipeline of diffusers, of a family in imap/backbones.
        clip: a video file, frames (frames, height, width, 3) of uint8 or of floats in [0, 1], or PIL images.
        latents: clean latents in place of a clip, (1, channels, frames, height, width) or in the pipeline's layout,
            scaled as the transformer takes them.
        noise: noise of the latents' shape. Default: drawn from `seed`.
        prompt: describes the clip.
        concepts, motions: as in `imap.trace`.
        num_inference_steps: steps of the noise schedule.
        renoise_timestep: step indices to noise the clip to, each once.
        test_full_denoise: denoise from the first index to the end, with guidance, and decode the result.
        guidance_scale, negative_prompt: only `test_full_denoise` uses them.
        seed: of the noise and of the VAE's posterior sample.
        height, width, num_frames: size and length that the clip must have. Default: the clip's own.
        resize: what to do with a clip of another size: none (an error), crop or stretch.
        frames: what to do with a clip of another length: none (an error), uniform (even in time) or first.
        seconds: the part of a video file to take, such as (1.5, 3.5). Default: all of it.
        image, last_image: pictures for an image-to-video pipeline: files, PIL images or uint8 arrays. Default: the
            first and the last frame of the clip, where the pipeline needs them.
        **method: further settings of `imap.trace`.

    Returns:
        `Renoised`, with the maps, the latents or frames, and seconds by stage.

    Raises:
        ImapError: for a clip, latents or settings that do not fit the model, before anything runs.
    """
    if (clip is None) == (latents is None):
        raise ImapError("give either clip= (a video file or frames) or latents= (clean latents), and not both")
    own = {name: method.pop(name) for name in ("observe", "prompt_cache", "maps", "attention") if name in method}
    tracing = start_trace(pipe, prompt, concepts, motions, method, **own)
    settings = renoise_settings(
        tracing,
        prompt=prompt,
        num_inference_steps=num_inference_steps,
        renoise_timestep=renoise_timestep,
        test_full_denoise=test_full_denoise,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        seed=seed,
    )
    sizes = {"height": height, "width": width, "num_frames": num_frames}
    sizes = {name: positive(name, x) for name, x in sizes.items() if x is not None}
    fit = Fit(**sizes, resize=resize, frames=frames, seconds=check_seconds(seconds))
    pictures = {name: x for name, x in (("image", image), ("last_image", last_image)) if x is not None}
    if clip is None:  # never taken for frames
        return renoise_clip(tracing, settings, dense("latents", latents), noise, pictures=pictures)
    fitted, taken = read_clip(clip, fit)
    renoised = renoise_clip(tracing, settings, fitted, noise, pictures=pictures)
    renoised.seconds["decode_clip"] = round(taken, 4)
    return renoised


def effect(
    pipe: Any,
    clip: str | Path | np.ndarray | Sequence[Any] | None = None,
    latents: Tensor | None = None,
    **settings: Any,
) -> Maps:
    """Read the effect of words on a clip, without its attention (docs/method.md, 10.2).

    Works where attention cannot be read: with compiled transformers, fused projections and any attention kernel.

    Args:
        pipe: as in `imap.renoise`.
        clip, latents: as in `imap.renoise`.
        **settings: as in `imap.renoise`: prompt, concepts and motions (words of the prompt), renoise_timestep,
            effect_neutral and others.

    Returns:
        Maps with the key `effect`. `facts` has no `faithfulness`, as no other map is read: `imap.renoise` has it.

    Raises:
        ImapError: for a word that is not in the prompt, and as `imap.renoise`.
    """
    settings |= {"effect": True, "show": EFFECT, "attention": False}
    return renoise(pipe, clip, latents, **settings).maps
