"""The public functions that read a pipeline call: `imap.trace`, and `imap.read_after` for its finished video."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from imap.config.run import METHOD_KEYS
from imap.errors import ImapError
from imap.jobs.reading import read_finished, trace_of_finished, unpacked
from imap.jobs.renoising import renoise_settings
from imap.jobs.sample_clip import read_clip
from imap.media.clips import Fit
from imap.methods.registry import SaliencyMap
from imap.saliency import Maps
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.start import start_trace
from imap.tracing.trace import Trace


def trace(
    pipe: Any,
    prompt: str | None = None,
    concepts: str | Sequence[str] | None = None,
    motions: str | Sequence[str] | None = None,
    *,
    imap_layer: Sequence[int] | None = None,
    maps_layers: Sequence[int] | None = None,
    maps_timesteps: Sequence[int] | None = None,
    imap_sep_score: str | None = None,
    imap_sep_topk: int | None = None,
    imap_qk_matching_target: str | None = None,
    surrogate: str | None = None,
    standardize: str | None = None,
    softmax: bool | None = None,
    concept_token: str | None = None,
    prompt_tokens: bool | None = None,
    show: str | None = None,
    effect: bool | Sequence[int] | None = None,
    effect_neutral: str | None = None,
    random_heads: int | None = None,
    keep: str | Sequence[str] | None = None,
    maps: Sequence[SaliencyMap] = (),
    observe: Callable[..., None] | None = None,
    prompt_cache: PromptCache | None = None,
) -> Trace:
    """Read the maps of the next call of a stock pipeline.

    The video is bit-identical to an untraced call. Settings that are None take the paper's value for the model.

        with imap.trace(pipe, prompt, concepts=["ball"], motions=["rolling"]) as trace:
            video = pipe(prompt=prompt).frames[0]
        maps = trace.maps()

    Args:
        pipe: a loaded video pipeline of diffusers, of a family in imap/backbones.
        prompt: the prompt of the pipeline call. Target `prompt` and the effect need it.
        concepts: nouns to look for, as a list or as "ball, dog". Their default map is GramCol.
        motions: motion words to look for. Their default map is IMAP.
        imap_layer: layers of the `*_layers` maps, from 0.
        maps_layers: [start, stop) layers of the other maps. Default: all.
        maps_timesteps: [start, stop) step indices to read. 0 is the noisiest. Default: all.
        imap_sep_score: separability score of heads: CHI, DBI, Silhouette or Fisher.
        imap_sep_topk: motion heads per layer and step. -1 keeps all heads above the score's threshold.
        imap_qk_matching_target: text keys: `concepts` (each word encoded alone) or `prompt` (the prompt's tokens).
        surrogate: `per_head` (the paper) or `consensus` (one patch for all heads of a layer).
        standardize: Gram columns over the text axis: `text` or `none`.
        softmax: softmax over texts, per layer and per step.
        concept_token: token that represents a concept: first, last or mean.
        prompt_tokens: with target `prompt`, also return maps of every prompt token.
        show: the key that `Maps.of` and pictures show, or published: IMAP of motion words, GramCol of concepts.
        effect: also read the effect of each word on the prediction, with one more forward pass per word and step: True
            (at the noise levels of the model's renoising) or a list of step indices. Words must be in the prompt.
        effect_neutral: replaces the word: mean (of the prompt's token embeddings) or dropped (the prompt without it).
        random_heads: draws of as many random heads as there are motion heads, each a map: a baseline of IMAP.
        keep: also return maps of single layers, steps, or both: "layers", "steps", or a tuple. Memory grows with them.
        maps: maps of your own, computed, saved and shown beside imap's (docs/adding_a_map.md).
        observe: called as observe(layer, step, LayerActivations, SlotWeights, LayerMaps) for each layer that is read.
        prompt_cache: shared by several traces of one pipeline, so that each text is encoded once.

    Returns:
        A context manager. Call the pipeline once inside the `with` block, then call `trace.maps()`.

    Raises:
        ImapError: for settings that the model does not have, before anything runs.
    """
    given = locals()
    settings = {name: given[name] for name in METHOD_KEYS}
    return start_trace(pipe, prompt, concepts, motions, settings, observe, prompt_cache, maps)


def read_after(
    trace: Trace,
    video: str | Path | np.ndarray | Sequence[Any] | Tensor,
    *,
    num_inference_steps: int | None = None,
    renoise_timestep: int | Sequence[int] | None = None,
    noise: Tensor | None = None,
    seed: int = 0,
    image: Any = None,
    last_image: Any = None,
) -> Maps:
    """Read the maps of a finished video, with the words and settings of the trace of its sampling.

    While a video is sampled, maps are read from half-made frames under guidance. Here the finished video is noised and
    read like a real clip, in a few forward passes. The video is not changed.

        trace = imap.trace(pipe, prompt, concepts=["ball"], motions=["jumps"])
        latents = pipe(prompt=prompt, output_type="latent").frames
        maps = imap.read_after(trace, latents)

    Args:
        trace: with the prompt of the video. It may have read the sampling, or not.
        video: the latents that the pipeline returns, or the frames, which are encoded again.
        num_inference_steps, renoise_timestep, noise: as in `imap.renoise`.
        seed: of the noise. Take another one than the video was made from: its own noise is not independent of it.
        image, last_image: the pictures that an image-to-video pipeline was given. Frames have them already.

    Returns:
        The maps of the finished video.

    Raises:
        ImapError: for a trace without a prompt, or settings that do not fit the model, before anything runs.
    """
    if not isinstance(trace, Trace):
        raise ImapError(
            f"read_after takes the trace of the sampling first, from imap.trace(...); got {type(trace).__name__}"
        )
    if not isinstance(video, Tensor | str | Path | np.ndarray | Sequence):
        raise ImapError(f"read_after takes latents, frames or a video file; got {type(video).__name__}")
    if not trace.text_slots.prompt:
        raise ImapError("read_after needs the prompt of the video: give it to imap.trace(pipe, prompt, ...)")
    again = trace_of_finished(trace)
    settings = renoise_settings(
        again,
        prompt=trace.text_slots.prompt,
        num_inference_steps=num_inference_steps,
        renoise_timestep=renoise_timestep,
        test_full_denoise=False,
        guidance_scale=None,
        negative_prompt="",
        seed=seed,
    )
    pictures = {name: x for name, x in (("image", image), ("last_image", last_image)) if x is not None}
    source = unpacked(trace, video) if isinstance(video, Tensor) else read_clip(video, Fit())[0]
    return read_finished(again, source, settings, noise, pictures=pictures)
