"""A trace of any stock pipeline, with the paper's settings for its model where none are given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from imap.backbones import backbone_of
from imap.config.checks import check_boolean, check_text
from imap.config.method import method_settings
from imap.config.presets import Preset, preset_for
from imap.config.samples import split_texts
from imap.errors import ImapError, brief
from imap.methods.by_layer import LAYERS
from imap.methods.registry import SaliencyMap
from imap.tracing.compatibility import check_parts
from imap.tracing.prompt_cache import PromptCache
from imap.tracing.text_slots import TextSlots
from imap.tracing.trace import Trace


def start_trace(
    pipe: Any,
    prompt: str | None,
    concepts: str | Sequence[str] | None,
    motions: str | Sequence[str] | None,
    settings: Mapping[str, Any],
    observe: Callable[..., None] | None = None,
    prompt_cache: PromptCache | None = None,
    maps: Sequence[SaliencyMap] = (),
    attention: bool = True,
) -> Trace:
    """A `Trace` of the next call of a pipeline.

    Args:
        pipe, prompt, concepts, motions, observe, prompt_cache, maps: as in `imap.trace`.
        attention: as in `Trace`.
        settings: keys of `imap.config.method.Method`. A missing key or None takes the paper's value for the model.

    Raises:
        ImapError: for settings or words that the model cannot take, before anything runs.
    """
    backbone = backbone_of(pipe)
    check_parts(pipe)
    if prompt is not None:
        check_text("prompt", prompt)
    if observe is not None and not callable(observe):
        raise ImapError(
            f"observe={brief(observe)} cannot be called; give a function (layer, step, activations, slots, maps)"
        )
    if prompt_cache is not None and not isinstance(prompt_cache, PromptCache):
        raise ImapError(f"prompt_cache={brief(prompt_cache)} is not an imap.tracing.prompt_cache.PromptCache")
    if settings.get("imap_qk_matching_target") is None and not prompt:
        settings = {**settings, "imap_qk_matching_target": "concepts"}  # no prompt, so no prompt words to match
    preset = preset_for(backbone.family, backbone.num_layers, backbone.num_heads)
    if settings.get("effect") is True:  # not of every step: the noise levels at which the model is renoised
        paper = preset.paper
        fractions = tuple(i / paper["num_inference_steps"] for i in paper["renoise_timestep"])
        settings = {**settings, "effect": fractions}
    method = method_settings(
        settings, preset.paper, backbone.num_layers, backbone.num_heads, backbone.default_concept_token
    )
    text_slots = TextSlots(
        backbone, method, split_texts(concepts), split_texts(motions), prompt, preset.words, (), attention
    )
    if not check_boolean("attention", attention) and not method.effect:
        raise ImapError("without attention only the effect is read; set effect=True")
    if not attention and LAYERS in method.keep:
        raise ImapError("without attention only the effect is read, and it has no layers; set keep='steps'")
    return Trace(backbone, method, text_slots, observe, prompt_cache, maps, _only_size(preset), attention)


def trace_again(earlier: Trace, **changed: Any) -> Trace:
    """A new trace of the same pipeline, words and settings. changed: fields of `Method`."""
    method, slots = replace(earlier.method, **changed), earlier.text_slots
    concepts, motions = ([x for x in slots.texts if (x in slots.motions) is is_motion] for is_motion in (False, True))
    text_slots = TextSlots(
        earlier.backbone, method, concepts, motions, slots.prompt, slots.known, slots.logged, earlier.attention
    )
    settings = (earlier.observe, earlier.prompt_cache, earlier.own_maps, earlier.only_size, earlier.attention)
    return Trace(earlier.backbone, method, text_slots, *settings)


def _only_size(preset: Preset) -> tuple[int, int, int] | None:
    """Frames, height and width of a small shipped model, which knows no other size; None for published models."""
    if preset.is_published or not preset.is_trained:
        return None
    return (preset.paper["num_frames"], preset.paper["height"], preset.paper["width"])
