"""The effect of a word against plain calls of the transformer, and what it must leave alone."""

import numpy as np
import pytest
import torch

import imap
from imap.backbones import backbone_of
from imap.backbones.tokens import place_of
from imap.tracing.steps import Steps
from tests.shared import FAMILIES, PROMPT, SIZES
from tests.tracing.test_trace import WORDS, call, state_of

ORDER = ("ball", "small dog", "rolling")
WITHOUT = {
    "ball": "A red rolls past a small dog on the grass.",
    "small dog": "A red ball rolls past a on the grass.",
    "rolling": "A red ball past a small dog on the grass.",
}


class Recorder:
    """Arguments and outputs of the transformer's calls in a plain run."""

    def __init__(self, pipe):
        self.pipe, self.calls = pipe, []

    def __enter__(self):
        def keep(module, args, kwargs, output):
            assert not args
            self.calls.append((dict(kwargs), output[0].clone()))

        self.handle = self.pipe.transformer.register_forward_hook(keep, with_kwargs=True)
        return self

    def __exit__(self, *_):
        self.handle.remove()


def spans(pipe, family):
    """Tokens of each word, by the pieces that the tokenizer gives: an independent count over the text before it."""
    backbone = backbone_of(pipe)
    written = {"ball": "ball", "small dog": "small dog", "rolling": "rolls"}
    found = {}
    for word, phrase in written.items():
        start = PROMPT.index(phrase)
        counts = [len(backbone.tokenize(PROMPT[:stop].rstrip()).pieces) - 1 for stop in (start, start + len(phrase))]
        found[word] = range(*counts)
    return found, len(backbone.tokenize(PROMPT).pieces)


@torch.no_grad()
def expected_effect(pipe, family, kwargs, output, neutral):
    """One call per word, of the conditional row alone."""
    backbone, transformer = backbone_of(pipe), pipe.transformer
    rows = len(kwargs["hidden_states"])
    one = {k: x[-1:] if isinstance(x, torch.Tensor) and x.ndim and len(x) == rows else x for k, x in kwargs.items()}
    words, count = spans(pipe, family)
    maps = []
    for word in ORDER:
        changed = dict(one)
        if neutral == "mean":
            text = one["encoder_hidden_states"].clone()
            text[0, list(words[word])] = text[0, :count].mean(dim=0)
            changed["encoder_hidden_states"] = text
        else:
            encoded = backbone.encode_prompt(WITHOUT[word], None)
            changed["encoder_hidden_states"] = encoded["prompt_embeds"]
            if family == "hunyuanvideo":
                changed["pooled_projections"] = encoded["pooled_prompt_embeds"]
                changed["encoder_attention_mask"] = encoded["prompt_attention_mask"]
        other = transformer(**changed)[0]
        axis = 2 if family == "cogvideox" else 1
        length = (other.double() - output[-1:].double()).square().sum(dim=axis).sqrt()[0]
        grid = backbone.grid(kwargs)
        (f, y, x), (frames, high, wide) = length.shape, (grid.frames, grid.height, grid.width)
        cells = length.reshape(frames, f // frames, high, y // high, wide, x // wide)
        maps.append(cells.mean(dim=(1, 3, 5)))
    return torch.stack(maps).numpy()


@pytest.mark.parametrize("neutral", ["mean", "dropped"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_effect_is_the_change_of_the_prediction_without_the_word(pipes, family, neutral):
    pipe = pipes(family)
    with Recorder(pipe) as plain:
        latents = call(pipe)
    before = state_of(pipe.transformer)
    with imap.trace(pipe, PROMPT, **WORDS, effect=[1], effect_neutral=neutral) as trace:
        traced = call(pipe)
    maps = trace.maps()
    assert torch.equal(latents, traced) and state_of(pipe.transformer) == before
    per_step = len(plain.calls) // 2  # Wan calls once more without the prompt, after the conditional call
    kwargs, output = plain.calls[per_step]
    expected = expected_effect(pipe, family, kwargs, output, neutral)
    np.testing.assert_allclose(maps.effect, expected, rtol=2e-3, atol=1e-3 * expected.std())
    assert maps.facts["effect"] == {"neutral": neutral, "steps": [1]}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_maps_do_not_change_with_the_effect(pipes, family):
    results = []
    for effect in (False, [0, 1]):
        with imap.trace(pipes(family), PROMPT, **WORDS, effect=effect) as trace:
            call(pipes(family))
        results.append(trace.maps())
    plain, more = results
    assert set(more) - set(plain) == {"effect"}
    assert all(np.array_equal(plain[key], more[key]) for key in plain)


@pytest.mark.slow
def test_words_are_batched_or_run_one_by_one_with_the_same_result(pipes, monkeypatch):
    def read():
        clip = np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), dtype=np.uint8)
        settings = {"num_inference_steps": 4, "renoise_timestep": [1, 2], "effect": True}
        return imap.renoise(pipes("cogvideox"), clip, prompt=PROMPT, **WORDS, **settings).maps

    together = read()
    monkeypatch.setattr("imap.tracing.effect.CPU_TOKENS", 1)
    alone = read()
    np.testing.assert_allclose(together.effect, alone.effect, rtol=1e-3, atol=1e-6)
    assert together.facts["effect"]["steps"] == [1, 2]


@pytest.mark.slow
def test_out_of_memory_halves_the_batch(pipes, monkeypatch):
    pipe, rows = pipes("wan"), []
    forward = type(pipe.transformer).forward

    def narrow(self, hidden_states, *args, **kwargs):
        if len(hidden_states) > 1:
            raise torch.cuda.OutOfMemoryError("full")
        rows.append(len(hidden_states))
        return forward(self, hidden_states, *args, **kwargs)

    with imap.trace(pipe, PROMPT, **WORDS, effect=[0]) as trace:
        expected = call(pipe, steps=1) is not None and trace.maps().effect
    monkeypatch.setattr(pipe.transformer, "forward", narrow.__get__(pipe.transformer))
    with imap.trace(pipe, PROMPT, **WORDS, effect=[0]) as trace:
        call(pipe, steps=1)
    np.testing.assert_allclose(trace.maps().effect, expected, rtol=1e-3, atol=1e-6)
    assert len(rows) == 2 + 3  # both halves of guidance, then three words


@pytest.mark.parametrize(
    ("words", "settings", "reason"),
    [
        ({"concepts": "ball, zebra"}, {}, "effect: not in the prompt: zebra"),
        ({"concepts": "ball"}, {"effect": []}, "names no step"),
        ({"concepts": "ball"}, {"effect": [-1]}, "names no step"),
        ({"concepts": "ball"}, {"effect": "often"}, "is not a list of whole numbers"),
        ({"concepts": "ball"}, {"effect_neutral": "zero"}, "effect_neutral='zero' is not known"),
        ({"concepts": "ball"}, {"effect": False, "show": "effect"}, "show=effect, and the effect is not read"),
        ({"concepts": "ball"}, {"show": "best"}, "show='best' is not known"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_runs(pipes, words, settings, reason):
    with pytest.raises(imap.ImapError, match=reason):
        imap.trace(pipes("wan"), PROMPT, **words, **{"effect": True, **settings})


def test_without_a_prompt_there_is_no_effect(pipes):
    with pytest.raises(imap.ImapError, match="give the prompt to the trace too"):
        imap.trace(pipes("wan"), concepts=["ball"], effect=True)


@pytest.mark.parametrize("settings", [{"effect": [7]}, {"effect": [0], "maps_timesteps": [1, 2]}])
def test_steps_that_will_not_be_read_are_refused_at_the_first_call(pipes, settings):
    pipe, steps = pipes("wan"), []

    def count(pipe, step, timestep, tensors):
        steps.append(step)
        return tensors

    with pytest.raises(imap.ImapError, match="effect reads step"), imap.trace(pipe, PROMPT, **WORDS, **settings):
        call(pipe, callback_on_step_end=count)
    assert not steps


def test_a_clip_takes_no_list_of_steps_for_the_effect(pipes):
    clip = np.zeros((9, 32, 48, 3), np.uint8)
    with pytest.raises(imap.ImapError, match="set effect=true"):
        imap.renoise(pipes("wan"), clip, prompt=PROMPT, **WORDS, num_inference_steps=4, renoise_timestep=2, effect=[2])


def test_noise_levels_of_a_short_schedule_are_kept(pipes):
    with imap.trace(pipes("wan"), PROMPT, **WORDS, effect=True) as trace:
        call(pipes("wan"), steps=1)
    assert trace.maps().facts["effect"]["steps"] == [0]


def test_while_sampling_the_effect_is_read_at_the_noise_levels_of_renoising(pipes):
    pipe = pipes("wan")  # the preset of an unknown size: index 20 of 50 steps
    with imap.trace(pipe, PROMPT, **WORDS, effect=True, maps_layers=[0, 1], imap_layer=[0]) as trace:
        call(pipe, steps=5)
    assert trace.maps().facts["effect"]["steps"] == [2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_repeated_word_is_left_out_everywhere(pipes, family):
    pipe, prompt = pipes(family), "A ball hits a ball."
    place = place_of("ball", backbone_of(pipe).tokenize(prompt))
    assert len(place.as_written) == 2 and place.without == "A hits a ."
    with Recorder(pipe) as recorded, imap.trace(pipe, prompt, concepts=["ball"], effect=[0]):
        pipe(prompt=prompt, num_inference_steps=1, **SIZES, output_type="latent")
    texts = [kwargs["encoder_hidden_states"] for kwargs, _ in recorded.calls]
    pairs = [(one[-1], other[-1]) for one in texts for other in texts if one is not other]
    changed = [set((one != other).any(dim=1).nonzero().flatten().tolist()) for one, other in pairs]
    assert set(place.tokens) in changed


# -- without attention


@pytest.mark.parametrize("family", FAMILIES)
def test_the_effect_needs_the_pipeline_alone(pipes, family):
    pipe = pipes(family)
    clean = torch.randn(backbone_of(pipe).latent_shape(9, 32, 48), generator=torch.Generator().manual_seed(1))
    settings = {"num_inference_steps": 4, "renoise_timestep": [2]}
    both = imap.renoise(pipe, latents=clean, prompt=PROMPT, **WORDS, **settings, effect=True).maps
    alone = imap.effect(pipe, latents=clean, prompt=PROMPT, **WORDS, **settings)
    assert list(alone) == ["effect"] and np.array_equal(alone.effect, both.effect)
    assert np.array_equal(alone.of("ball"), alone.effect[0]) and alone.heads == {}
    one = imap.effect(pipe, latents=clean, prompt=PROMPT, concepts=["ball"], **settings)
    assert not one.facts["notes"]  # no map is standardized
    assert "faithfulness" in both.facts and "faithfulness" not in alone.facts  # there is no other map to score


@pytest.mark.slow
def test_where_attention_cannot_be_read_the_effect_can(tmp_path):
    from imap.testing import tiny

    pipe = tiny.build("wan")
    pipe.set_progress_bar_config(disable=True)
    clean = torch.randn(backbone_of(pipe).latent_shape(9, 32, 48), generator=torch.Generator().manual_seed(1))
    settings = {"num_inference_steps": 4, "renoise_timestep": [2], "latents": clean, "prompt": PROMPT, **WORDS}
    expected = imap.effect(pipe, **settings)
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    with pytest.raises(imap.ImapError, match="is compiled"):
        imap.renoise(pipe, **settings)
    compiled = imap.effect(pipe, **settings)
    np.testing.assert_allclose(compiled.effect, expected.effect, rtol=1e-3, atol=1e-6)
    loaded = imap.Maps.load(compiled.save(tmp_path / "maps"))
    assert np.array_equal(loaded.effect, compiled.effect)


def test_reading_after_says_that_it_takes_its_own_steps_for_the_effect(pipes):
    pipe = pipes("wan")
    for effect, is_noted in (([0], True), (True, False)):
        trace = imap.trace(pipe, PROMPT, **WORDS, effect=effect)
        video = call(pipe)
        maps = imap.read_after(trace, video, num_inference_steps=2, renoise_timestep=[1])
        assert maps.facts["effect"]["steps"] == [1]
        assert any("effect=[0] are steps of the sampling" in note for note in maps.facts["notes"]) is is_noted


# -- agreement of maps with the effect


def test_every_map_is_scored_against_the_effect(pipes):
    with imap.trace(pipes("wan"), PROMPT, **WORDS, effect=[0, 1]) as trace:
        call(pipes("wan"))
    maps = trace.maps()
    scores = maps.facts["faithfulness"]
    assert set(scores) == set(maps.texts)
    assert all(set(by_key) == set(maps) - {"effect"} for by_key in scores.values())
    from scipy.stats import spearmanr

    x, effect = maps["video_col_layers"][1], maps.effect[1]
    got = scores["small dog"]["video_col_layers"]
    assert got["rank"] == pytest.approx(spearmanr(x.ravel(), effect.ravel()).statistic, abs=1e-4)
    assert got["rank_time"] == pytest.approx(spearmanr(x.mean((1, 2)), effect.mean((1, 2))).statistic, abs=1e-4)


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_a_text_of_another_length_than_the_dropped_ones_is_refused(pipes, family):
    pipe = pipes(family)
    with pytest.raises(imap.ImapError, match="leave out max_sequence_length, or set effect_neutral=mean"):  # noqa: SIM117
        with imap.trace(pipe, PROMPT, **WORDS, effect=[0], effect_neutral="dropped"):
            call(pipe, max_sequence_length=64)


def test_a_map_that_the_model_has_not_is_noted_and_nothing_is_not_read(pipes):
    with imap.trace(pipes("wan"), PROMPT, **WORDS, show="ConceptAttention", effect=[np.int64(1)]) as trace:
        call(pipes("wan"))
    assert any("show=concept_attention_maps" in note for note in trace.maps().facts["notes"])
    with pytest.raises(imap.ImapError, match="without attention only the effect is read"):
        imap.renoise(pipes("wan"), latents=torch.zeros(1, 16, 3, 4, 6), prompt=PROMPT, **WORDS, attention=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_effects_own_calls_are_not_counted_as_steps(pipes, family, monkeypatch):
    pipe, counted = pipes(family), []
    conditional_row = Steps.conditional_row

    def count(self, rows, *call):
        counted.append(rows)
        return conditional_row(self, rows, *call)

    monkeypatch.setattr(Steps, "conditional_row", count)
    with Recorder(pipe) as recorded, imap.trace(pipe, PROMPT, **WORDS, effect=[0, 1]):
        call(pipe)
    assert len(recorded.calls) - len(counted) == 2  # one call with all words at each step
