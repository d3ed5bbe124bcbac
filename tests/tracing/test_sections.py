"""A video that is made in several runs of a schedule has maps of each, and they are those of that run alone."""

from copy import deepcopy

import diffusers
import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from omegaconf import OmegaConf
from PIL import Image

import imap
from imap.backbones import backbone_of
from imap.config.model import model_settings
from imap.runs.checkpoint import read_checkpoint
from imap.testing import tiny
from tests.shared import PROMPT, SIZES, composed, sizes_of
from tests.tracing.test_trace import TARGETS, WORDS, call, state_of

WINDOWS = {"num_frames": 17, "base_num_frames": 9, "overlap_history": 5, "ar_step": 0}
SECTIONS = {"framepack": 2, "skyreels_v2_forcing": 3}
STEPS = 3
LAYERS = {"imap_layer": [0, 2], "maps_layers": [1, 3]}
GROUPS = {"": [1, 2], "_layers": [0, 2]}
BALLS = {"concepts": ["ball", "small dog"], "motions": ["rolls"]}  # as the prompt writes them: the effect needs that

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not set(SECTIONS) <= set(tiny.FURTHER), reason="an old diffusers"),
]
each = pytest.mark.parametrize("family", SECTIONS)


def sampled(pipe, steps=STEPS, **more):
    """Latents of a video of several sections."""
    family = backbone_of(pipe).family
    given = sizes_of(family) | ({"num_frames": 17} if family == "framepack" else WINDOWS) | more
    return call(pipe, steps=steps, **given)


def traced(pipe, **settings):
    """A trace of such a call, its latents, and by section what `observe` has seen by layer and step."""
    seen = [{}]

    def observe(layer, step, activations, slots, maps):
        if (layer, step) in seen[-1]:  # the schedule runs again
            seen.append({})
        found = maps.maps | {"scores": maps.scores, "chosen": maps.chosen}
        seen[-1][layer, step] = {key: value.clone() for key, value in found.items()}

    with imap.trace(pipe, PROMPT, **{**BALLS, **LAYERS, **settings}, observe=observe) as trace:
        latents = sampled(pipe)
    return trace, latents, seen


def mean(seen, steps, layers, key):
    """The mean over layers, then over steps."""
    of_steps = [torch.stack([seen[layer, step][key].double() for layer in layers]).mean(dim=0) for step in steps]
    return torch.stack(of_steps).mean(dim=0).numpy()


@pytest.mark.parametrize("target", TARGETS)
@each
def test_each_section_has_the_maps_of_its_own_run_of_the_schedule(pipes, family, target):
    pipe, count = pipes(family), SECTIONS[family]
    plain = sampled(pipe)
    before = state_of(pipe.transformer)
    trace, latents, seen = traced(pipe, imap_qk_matching_target=target)
    assert torch.equal(plain, latents) and state_of(pipe.transformer) == before
    sections = trace.sections()
    assert len(sections) == len(seen) == count
    for number, (maps, own) in enumerate(zip(sections, seen, strict=True)):
        assert set(own) == {(layer, step) for layer in range(3) for step in range(STEPS)}
        assert maps.facts["steps"] == [*range(STEPS)]
        assert (maps.facts["section"]["number"], maps.facts["section"]["of"]) == (number, count)
        for (layer, step), found in own.items():
            assert maps.scores[layer][step] == found["scores"].tolist()
            assert sorted(maps.heads[layer][step]) == found["chosen"].nonzero().flatten().tolist()
        assert {tuple(steps) for table in (maps.heads, maps.scores) for steps in table.values()} == {(0, 1, 2)}
        for key, found in maps.items():
            suffix = "_layers" if key.endswith("_layers") else ""
            expected = mean(own, range(STEPS), GROUPS[suffix], key.removesuffix(suffix)).reshape(found.shape)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected.std())
    for i, one in enumerate(sections):  # no two sections are equal
        assert all(np.abs(one["imap"] - x["imap"]).max() > 1e-2 * one["imap"].std() for x in sections[:i])


def finished(pipe, **more):
    """The latents at the end of each section, and what the pipeline returns."""
    latents = []

    def keep(pipe, step, timestep, tensors):
        latents[len(latents) - (step > 0) :] = [tensors["latents"].clone()]  # the latest step of each section stays
        return tensors

    with imap.trace(pipe, PROMPT, **BALLS, **LAYERS) as trace:
        video = call(pipe, steps=STEPS, callback_on_step_end=keep, **more)
    return trace, latents, video


@pytest.mark.parametrize("order", ["inverted_anti_drifting", "vanilla"])
def test_sections_of_framepack_know_their_frames(pipes, order, tmp_path):
    pipe, given = pipes("framepack"), {**sizes_of("framepack"), "num_frames": 26, "sampling_type": order}
    trace, latents, video = finished(pipe, **given)
    found = [maps.facts["section"] for maps in trace.sections()]
    # windows of 3 latent frames behind the picture, which is frame 0
    frames = [[4, 13], [16, 25], [28, 37]]
    assert [x["frames"] for x in found] == (frames if order == "vanilla" else frames[::-1])
    assert {x["made_from"] for x in found} == {"start" if order == "vanilla" else "end"}
    for x, latent in zip(found, latents, strict=True):
        start, stop = x["frames"][0] // 4, x["frames"][1] // 4 + 1
        assert torch.equal(video[:, :, -10:][:, :, start:stop], latent)  # behind those of the unfinished video
    video = call(pipe, steps=STEPS, **given, output_type="np")[0]
    assert len(video) == 37
    for number, maps in enumerate(trace.sections()):
        folder = maps.save(tmp_path / str(number), video=video[slice(*maps.facts["section"]["frames"])])
        assert imap.Maps.load(folder).facts["section"] == maps.facts["section"]


def test_the_end_of_an_interrupted_framepack_has_no_frames_yet(pipes):
    def stop(pipe, step, timestep, tensors):
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"), imap.trace(pipes("framepack"), PROMPT, **BALLS) as trace:
        sampled(pipes("framepack"), callback_on_step_end=stop)
    (maps,) = trace.sections()
    assert "frames" not in maps.facts["section"]
    assert (maps.facts["section"]["first_place"], maps.facts["section"]["last_place"]) == (4, 6)


def test_windows_of_forcing_know_their_frames_and_their_history(pipes):
    pipe = pipes("skyreels_v2_forcing")
    # of 3 latent frames, 2 of them finished; the last window is shorter
    trace, latents, video = finished(pipe, **{**WINDOWS, "num_frames": 25, "base_num_frames": 13})
    found = [maps.facts["section"] for maps in trace.sections()]
    assert [x["frames"] for x in found] == [[0, 13], [8, 21], [16, 25]]
    assert [x["history_frames"] for x in found] == [0, 2, 2]
    for maps, x, latent in zip(trace.sections(), found, latents, strict=True):
        start, stop = x["frames"][0] // 4, x["frames"][1] // 4 + 1
        assert torch.equal(video[:, :, start:stop], latent)
        assert len(maps.mask("ball")) == x["frames"][1] - x["frames"][0]
    causal = type(pipe)(**{**pipe.components, "transformer": deepcopy(pipe.transformer)})
    trace, _, _ = finished(causal, **{**WINDOWS, "num_frames": 21, "base_num_frames": 13, "causal_block_size": 2})
    assert all("frames" not in maps.facts["section"] for maps in trace.sections())


def test_noise_on_the_history_is_no_step(pipes):
    """At low noise, finished frames may have a higher timestep than those that are made."""
    trace, _, _ = traced(pipes("skyreels_v2_forcing"))
    pipe = pipes("skyreels_v2_forcing")
    with imap.trace(pipe, PROMPT, **BALLS, **LAYERS) as noised:
        sampled(pipe, addnoise_condition=999)
    assert [maps.facts["steps"] for maps in noised.sections()] == [[0, 1, 2]] * 3
    first, again = trace.sections()[0], noised.sections()[0]  # which has no history
    assert all(np.array_equal(first[key], again[key]) for key in first)


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (32, 48, 3), dtype=np.uint8))


def forcing(pipes, kind):
    pipe = getattr(diffusers, f"SkyReelsV2DiffusionForcing{kind}Pipeline")(**pipes("skyreels_v2_forcing").components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("kind", ["ImageToVideo", "VideoToVideo"])
def test_forcing_from_a_picture_or_a_video_is_of_the_same_family(pipes, kind, picture):
    pipe = forcing(pipes, kind)
    given = {**WINDOWS, "num_frames": 21, "base_num_frames": 13}
    given |= {"image": picture} if kind == "ImageToVideo" else {"video": [picture] * 9}
    assert backbone_of(pipe).family == "skyreels_v2_forcing"
    plain = call(pipe, steps=STEPS, **given)
    trace, _, video = finished(pipe, **given)
    assert torch.equal(plain, video)
    found = [maps.facts["section"] for maps in trace.sections()]
    assert [maps.facts["steps"] for maps in trace.sections()] == [[0, 1, 2]] * len(found)
    if kind == "ImageToVideo":
        assert [(x["history_frames"], x["frames"]) for x in found] == [(1, [0, 13]), (2, [8, 21])]
    else:
        assert [x["history_frames"] for x in found] == [2, 2] and not any("frames" in x for x in found)


def test_a_last_picture_is_no_frame_of_the_video(pipes, picture):
    pipe = forcing(pipes, "ImageToVideo")
    trace, _, video = finished(pipe, image=picture, last_image=picture, num_frames=9, ar_step=0)
    (maps,) = trace.sections()
    assert video.shape[2] == maps["imap"].shape[1] == 4
    assert maps.facts["section"] == {"number": 0, "of": 1, "history_frames": 1, "end_frames": 1, "frames": [0, 9]}


def test_a_step_at_timestep_0_tells_no_history(pipes, monkeypatch):
    pipe = pipes("skyreels_v2_forcing")
    whole = type(pipe).generate_timestep_matrix

    def ends_at_0(self, *args, **more):
        matrix, *others = whole(self, *args, **more)
        matrix[-1] = 0
        return matrix, *others

    monkeypatch.setattr(type(pipe), "generate_timestep_matrix", ends_at_0)
    with imap.trace(pipe, PROMPT, **BALLS, maps_timesteps=[2, 3]) as trace:
        sampled(pipe)
    assert [maps.facts["section"] for maps in trace.sections()] == [{"number": i, "of": 3} for i in range(3)]


@each
def test_maps_of_several_sections_are_refused(pipes, family):
    trace, _, _ = traced(pipes(family))
    match = rf"made in {SECTIONS[family]} sections.*trace\.sections\(\) has the maps of each"
    with pytest.raises(imap.ImapError, match=match):
        trace.maps()


@pytest.mark.parametrize("family", [*SECTIONS, "wan"])
def test_one_section_is_all_maps(pipes, family):
    with imap.trace(pipes(family), PROMPT, **WORDS) as trace:
        call(pipes(family), **sizes_of(family))
    maps, (only,) = trace.maps(), trace.sections()
    assert list(maps) == list(only) and all(np.array_equal(maps[key], only[key]) for key in maps)
    assert maps.heads == only.heads and maps.scores == only.scores
    assert (only.facts["section"]["number"], only.facts["section"]["of"]) == (0, 1)
    facts = {**maps.facts, "section": only.facts["section"]}
    assert facts == only.facts


def test_sections_without_a_call_say_so(pipes):
    with pytest.raises(imap.ImapError, match="not called"), imap.trace(pipes("framepack"), PROMPT, **WORDS) as trace:
        trace.sections()


@each
def test_chosen_steps_are_those_of_every_section(pipes, family):
    every, _, seen = traced(pipes(family))
    trace, _, _ = traced(pipes(family), maps_timesteps=[1, 3])
    assert [maps.facts["steps"] for maps in trace.sections()] == [[1, 2]] * SECTIONS[family]
    for maps, own in zip(trace.sections(), seen, strict=True):
        expected = mean(own, [1, 2], GROUPS["_layers"], "imap").reshape(maps["imap_layers"].shape)
        np.testing.assert_allclose(maps["imap_layers"], expected, rtol=0, atol=1e-6 * expected.std())
    assert len(every.sections()) == SECTIONS[family]


@each
def test_steps_are_kept_by_section(pipes, family):
    trace, _, seen = traced(pipes(family), keep="steps")
    for maps, own in zip(trace.sections(), seen, strict=True):
        assert maps.kept["by_step/imap"].steps == (0, 1, 2)
        for i, text in enumerate(maps.texts):
            found = maps.by_step(text, "imap")
            assert list(found) == [*range(STEPS)]
            for step, x in found.items():
                expected = mean(own, [step], GROUPS[""], "imap")[i].reshape(x.shape)
                np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6 * expected.std())


@each
def test_the_effect_is_that_of_each_section(pipes, family):
    pipe, outputs = pipes(family), []
    keep = lambda module, args, output: outputs.append(output[0])  # noqa: E731
    plain = sampled(pipe, guidance_scale=1.0)
    handle = pipe.transformer.register_forward_hook(keep)
    try:
        with imap.trace(pipe, PROMPT, **BALLS, effect=[1], keep="steps") as trace:
            latents = sampled(pipe, guidance_scale=1.0)
    finally:
        handle.remove()
    assert torch.equal(plain, latents)
    sections = trace.sections()
    assert len(sections) == SECTIONS[family] and len(outputs) == SECTIONS[family] * (STEPS + 1)
    for number, maps in enumerate(sections):
        predicted, without = outputs[number * (STEPS + 1) + 1 :][:2]  # imap's own call follows that of step 1
        length = (without - predicted).double().norm(dim=1)
        expected = length.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean(dim=(-3, -1)).numpy()  # of 2 x 2 cells
        expected[:, : maps.facts["section"].get("history_frames", 0)] = 0
        np.testing.assert_allclose(maps.effect, expected, rtol=1e-5)
        assert maps.facts["effect"]["steps"] == [1] and list(maps.by_step("ball", "effect")) == [1]
        assert maps.facts["steps"] == [*range(STEPS)] and maps.effect.std() > 0


@each
def test_an_exception_in_the_second_section_leaves_nothing(pipes, family):
    pipe, count = pipes(family), []
    plain = sampled(pipe)
    before = state_of(pipe.transformer), set(vars(pipe)), set(vars(pipe.scheduler))

    def stop(pipe, step, timestep, tensors):
        count.append(step)
        if len(count) == STEPS + 2:
            raise KeyError("stop")
        return tensors

    with pytest.raises(KeyError, match="stop"), imap.trace(pipe, PROMPT, **BALLS, **LAYERS) as trace:
        sampled(pipe, callback_on_step_end=stop)
    assert (state_of(pipe.transformer), set(vars(pipe)), set(vars(pipe.scheduler))) == before
    assert [maps.facts["steps"] for maps in trace.sections()] == [[0, 1, 2], [0, 1]]  # what was read is there
    again, latents, _ = traced(pipe)
    assert torch.equal(plain, latents) and len(again.sections()) == SECTIONS[family]
    for key, x in trace.sections()[0].items():
        assert np.array_equal(x, again.sections()[0][key])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prompt", [PROMPT, "A green kite."])
@each
def test_another_call_is_refused(pipes, family, target, prompt):
    settings = {"imap_qk_matching_target": target}
    with imap.trace(pipes(family), PROMPT, **BALLS, **settings) as trace:
        sampled(pipes(family))
        with pytest.raises(imap.ImapError, match="meets another one; open a new `with imap.trace"):
            sampled(pipes(family), prompt=prompt)
    assert len(trace.sections()) == SECTIONS[family]


@each
def test_another_call_with_the_same_embeddings_is_refused(pipes, family):
    pipe = pipes(family)
    text = {"prompt": None, **backbone_of(pipe).encode_prompt(PROMPT, None)}
    text |= {f"negative_{name}": x for name, x in text.items()} if family.startswith("skyreels") else {}
    with imap.trace(pipe, PROMPT, **BALLS) as trace:
        sampled(pipe, **text)
        with pytest.raises(imap.ImapError, match="meets another one; open a new `with imap.trace"):
            sampled(pipe, **text)
    assert len(trace.sections()) == SECTIONS[family]


def test_the_effect_on_frames_that_a_window_is_given_is_0(pipes, picture):
    pipe = forcing(pipes, "ImageToVideo")
    with imap.trace(pipe, PROMPT, **BALLS, effect=[1]) as trace:
        call(pipe, steps=STEPS, **{**WINDOWS, "num_frames": 21, "base_num_frames": 13}, image=picture)
    first, second = trace.sections()
    assert not first.effect[:, 0].any() and first.effect[:, 1:].all()
    assert not second.effect[:, :2].any() and second.effect[:, 2:].all()
    for section, frames in ((first, [0]), (second, [0, 1])):
        assert [note.partition(":")[0] for note in section.facts["notes"] if "given" in note] == [
            f"latent frames {frames} are given"
        ]


def test_a_window_from_text_has_a_note_on_its_finished_frames_alone(pipes, caplog):
    pipe = forcing(pipes, "")
    with imap.trace(pipe, PROMPT, **BALLS) as trace:
        call(pipe, steps=STEPS, **WINDOWS)
    noted = [[note for note in section.facts["notes"] if "given" in note] for section in trace.sections()]
    assert noted[0] == [] and all(len(notes) == 1 for notes in noted[1:])
    assert caplog.text.count("are given: they have less noise") == 1  # the same of each window


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", ["", "ImageToVideo"])
def test_frames_at_different_steps_are_refused(pipes, kind, steps, picture):
    pipe = forcing(pipes, kind)
    given = {"num_frames": 9, "base_num_frames": 9, "ar_step": 1} | ({"image": picture} if kind else {})
    call(pipe, steps=steps, **given)  # which the pipeline itself can do
    before = state_of(pipe.transformer)
    with pytest.raises(imap.ImapError, match="sample with ar_step=0"), imap.trace(pipe, PROMPT, **BALLS) as trace:
        call(pipe, steps=steps, **given)
    assert state_of(pipe.transformer) == before
    with pytest.raises(imap.ImapError, match="no step was read"):  # at the first call already
        trace.sections()


@each
def test_renoising_and_samples_are_refused_with_the_reason(pipes, family):
    clip = np.zeros((9, 32, 48, 3), np.uint8)
    with pytest.raises(imap.ImapError, match=r"cannot give noised latents to a .*Pipeline: it (draws|denoises)"):
        imap.renoise(pipes(family), clip=clip, prompt=PROMPT, **BALLS)
    name = {"framepack": "framepack", "skyreels_v2_forcing": "skyreels_v2_forcing_14b_540p"}[family]
    with pytest.raises(imap.ImapError, match=r"one set of maps; in Python, trace\.sections\(\)"):  # nothing is loaded
        read_checkpoint(model_settings(OmegaConf.to_container(composed("sampling", f"backbone={name}").backbone)))


class TwiceWan(WanPipeline):
    """Runs two copies of its scheduler, as windows of a long video do."""

    def __call__(self, steps):
        self._guidance_scale, self._current_timestep = 1.0, None
        self.scheduler.set_timesteps(steps)
        text, _ = self.encode_prompt(PROMPT, do_classifier_free_guidance=False)
        latents = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
        for _ in range(2):
            scheduler = deepcopy(self.scheduler)
            for t in scheduler.timesteps:
                self._current_timestep = t
                with torch.no_grad():
                    noise = self.transformer(latents, t.expand(1), text, return_dict=False)[0]
                latents = scheduler.step(noise, t, latents, return_dict=False)[0]
        self._current_timestep = None
        return latents


@pytest.mark.parametrize("steps", [1, 3])
def test_a_family_without_sections_that_runs_its_schedule_twice_is_refused(steps):
    pipe = TwiceWan(**tiny.build("wan").components)
    with pytest.raises(imap.ImapError, match="runs its schedule several times"), imap.trace(pipe, PROMPT, **WORDS):
        pipe(steps)
    assert SIZES["num_frames"] == 9 and all(not x._forward_hooks for x in pipe.transformer.modules())
