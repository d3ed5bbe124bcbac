"""Arguments of `imap.trace` and `imap.renoise`, drawn at random: refused in one line, or taken as they are."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import imap
from imap.jobs.renoising import RenoiseSettings
from imap.tracing.start import start_trace
from tests.fuzz.values import accepted, fuzzed, same, search, texts, values
from tests.shared import PROMPT

METHOD = ("imap_layer", "maps_layers", "maps_timesteps", "imap_sep_score", "imap_sep_topk", "imap_qk_matching_target")
METHOD += ("surrogate", "standardize", "softmax", "concept_token", "prompt_tokens", "effect", "effect_neutral", "show")
METHOD += ("random_heads",)
OTHERS = ("prompt", "concepts", "motions", "maps", "observe", "prompt_cache")
RENOISE = ("num_inference_steps", "renoise_timestep", "test_full_denoise", "guidance_scale", "negative_prompt", "seed")
FIT = ("height", "width", "num_frames", "resize", "frames", "clip", "latents", "noise")
LIKELY = [[0], [0, 1], [1, 2], (0, 1), range(2), np.array([0, 1]), np.int64(1), 1, -1, True, "chi", "DBI", "prompt"]
LIKELY += ["concepts", "consensus", "none", "LAST", "mean", "dropped", "IMAP", "video_col", "crop", "first", 9, 32, 48]
CLIP = np.zeros((9, 32, 48, 3), np.uint8)
likely = st.one_of(st.sampled_from(LIKELY), values)
words = st.one_of(st.lists(texts, max_size=3), values)


def plain(value):
    """A word list as a person reads it."""
    return tuple(" ".join(x.split()) for x in value) if isinstance(value, list | tuple) else None


@pytest.mark.slow
@fuzzed(0.15)
def test_arguments_of_a_trace(examples, pipes):
    base = {"prompt": PROMPT, "concepts": ["ball"], "motions": ["rolls"], "effect": False}

    def check(name, value):
        trace = accepted(partial(imap.trace, pipes("wan"), **{**base, name: value}))
        if trace is None or value is None or (name == "effect" and value is True):  # at the noise levels of the model
            return
        if name in METHOD:
            result = getattr(trace.method, name)
            assert name == "show" or same(result, value), (name, result)
        elif name == "prompt":
            assert trace.text_slots.prompt is value
        elif name in ("concepts", "motions") and plain(value) is not None:
            texts_of = [x for x in trace.text_slots.texts if (x in trace.text_slots.motions) == (name == "motions")]
            assert tuple(texts_of) == plain(value)

    search(examples, check, st.sampled_from([*METHOD, *OTHERS]), likely)


@fuzzed(0.15)
def test_arguments_of_renoising(examples, pipes, monkeypatch):
    made = []
    monkeypatch.setattr("imap.api.clips.renoise_clip", lambda trace, settings, *_, **__: made.append(settings) or DONE)
    base = {"clip": CLIP, "prompt": PROMPT, "concepts": ["ball"], "num_inference_steps": 60, "renoise_timestep": [2]}

    def check(name, value):
        made.clear()
        done = accepted(partial(imap.renoise, pipes("wan"), **{**base, name: value}))
        if done is not None and value is not None and name in RenoiseSettings.__dataclass_fields__:
            once = list(dict.fromkeys(value)) if name == "renoise_timestep" and isinstance(value, list) else value
            assert same(getattr(made[0], name), once), (name, made[0])

    search(examples, check, st.sampled_from([*RENOISE, *FIT, "prompt", "attention", "unknown"]), likely)


DONE = SimpleNamespace(seconds={})
tensors = st.sampled_from([torch.zeros(1, 16, 3, 4, 6), torch.zeros(1, 3, 16, 4, 6, dtype=torch.float64), CLIP])
tensors |= st.sampled_from([torch.zeros(2, 16, 3, 4, 6), torch.zeros(1, 16, 1, 4, 6), torch.zeros(1, 16, 0, 4, 6)])
tensors |= st.sampled_from(
    [CLIP[:1], CLIP[:0], CLIP[:8], CLIP / 255, CLIP.astype(object), [CLIP[0]] * 5, CLIP[..., :2]]
)


@pytest.mark.parametrize("name", ["clip", "latents", "noise"])
@fuzzed(0.02)
def test_clips_and_latents(examples, name, pipes):
    base = {"clip": CLIP, "prompt": PROMPT, "concepts": ["ball"], "num_inference_steps": 4, "renoise_timestep": 2}

    def check(value):
        given = {key: x for key, x in {**base, name: value}.items() if name != "latents" or key != "clip"}
        done = accepted(partial(imap.renoise, pipes("wan"), **given))
        assert done is None or all(np.isfinite(x).all() for x in done.maps.values())

    search(examples, check, st.one_of(tensors, values))


@fuzzed(0.04)
def test_words_that_are_traced_are_those_that_were_named(examples, pipes):
    def check(concepts, motions):
        work = partial(start_trace, pipes("wan"), None, concepts, motions, {})
        trace = accepted(work)
        if trace is not None and plain(concepts) is not None and plain(motions) is not None:
            assert trace.text_slots.texts == plain(concepts) + plain(motions)

    search(examples, check, words, words)
