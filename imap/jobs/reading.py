"""Reading a sampled video after it is made: its latents are renoised like a real clip (docs/method.md, 10.4)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from imap.errors import ImapError
from imap.jobs.renoising import RenoiseSettings, renoise_clip
from imap.jobs.timing import Progress
from imap.media.clips import FittedClip
from imap.methods.registry import AFTER_LABEL, EFFECT, after_key
from imap.saliency import Maps
from imap.tracing.start import trace_again
from imap.tracing.trace import Trace

READING = 1_000_003  # added to the seed of a video: the noise to read it with must not be that which it was made from


def trace_of_finished(sampling: Trace) -> Trace:
    """A trace with the words and settings of a sampling, entered or not, for its finished video."""
    named = sampling.method.effect
    again = trace_again(sampling, maps_timesteps=None, effect=bool(named))
    if isinstance(named, tuple) and all(isinstance(step, int) for step in named):  # a user's, not a preset's fractions
        again.text_slots.note(
            f"effect={list(named)} are steps of the sampling; on the finished video, the effect is read at its "
            "renoise_timestep"
        )
    return again


def read_finished(
    tracing: Trace,
    source: FittedClip | Tensor,
    settings: RenoiseSettings,
    noise: Tensor | None = None,
    progress: Progress | None = None,
    pictures: Mapping[str, Any] | None = None,
) -> Maps:
    """Maps of a finished video.

    Args:
        tracing: from `trace_of_finished`.
        source: the finished latents, or a clip.
        settings: how the video is noised.
        noise: of the latents' shape; None draws it from the seed.
        progress: as in `sample_video`.
        pictures: as in `renoise_clip`.
    """
    maps = renoise_clip(tracing, settings, source, noise, progress, pictures=pictures).maps
    read = {
        "when": "after",
        "renoise_timestep": list(settings.renoise_timestep),
        "num_inference_steps": settings.num_inference_steps,
        "seed": settings.seed,
    }
    return replace(maps, facts={**maps.facts, "read": read})


def unpacked(sampling: Trace, latents: Tensor) -> Tensor:
    """Finished latents with five axes. Those of some pipelines are packed to tokens (1, tokens, channels).

    Raises ImapError for packed latents of a trace that has read no sampling, so that their grid is not known.
    """
    if latents.ndim != 3:
        return latents
    if sampling.grid is None:
        raise ImapError(
            f"latents of shape {tuple(latents.shape)} are packed to tokens, and their grid is not known: this trace "
            "has read no sampling; sample inside its `with` block, or give the frames"
        )
    return sampling.backbone.from_pipeline(latents, sampling.grid)


def both_readings(during: Maps, after: Maps) -> Maps:
    """Maps of both readings: those of the finished video have `_after` in their keys. The effect is that of after."""
    named = _named(after.arrays)
    arrays = {**during.arrays, **named}
    facts = {**during.facts, "read": {**after.facts["read"], "when": "both"}}
    facts["notes"] = list(dict.fromkeys([*during.facts.get("notes", ()), *after.facts.get("notes", ())]))
    if EFFECT in after.arrays:
        from imap.evaluation.faithfulness import faithfulness_by_text  # loads scipy

        facts |= {"effect": after.facts["effect"], "method": {**during.facts["method"], "effect": True}}
        others = {key: x for key, x in arrays.items() if key != EFFECT}
        facts["faithfulness"] = faithfulness_by_text(others, arrays[EFFECT], during.texts)
    labels = {**during.labels, **{after_key(key): f"{label}{AFTER_LABEL}" for key, label in after.names.items()}}
    labels = {key: label for key, label in labels.items() if key in arrays}
    tokens = {**during.token_arrays, **_named(after.token_arrays)}
    kept = {**during.kept, **{_kept_name(name): one for name, one in after.kept.items()}}
    return replace(during, arrays=arrays, facts=facts, labels=labels, token_arrays=tokens, kept=kept)


def _named(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {_after(key): x for key, x in arrays.items()}


def _after(key: str) -> str:
    return key if key == EFFECT else after_key(key)


def _kept_name(name: str) -> str:
    folder, _, key = name.partition("/")
    return f"{folder}/{_after(key)}"
