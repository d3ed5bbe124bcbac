"""HunyuanVideo image-to-video: the prompt's slots behind the picture's, its end, and the frames that are shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import imap
from imap.backbones import backbone_of
from imap.backbones.features import CONCEPT_WINDOW, Slots, call_arguments
from imap.config.run import run_settings
from imap.config.samples import Sample
from imap.jobs.sampling import sample_video
from tests.shared import PROMPT, composed, pictures_for, sizes_of
from tests.tracing.test_trace import WORDS, call

pytestmark = pytest.mark.slow

FAMILIES = {"hunyuanvideo_i2v": 144, "hunyuanvideo_i2v_33ch": 288}  # states of the picture: 576 / 4 and 576 / 2
WINDOW = 252
UNKNOWN = "could not be checked"


def words(count: int) -> str:
    """A text of so many tokens, of which the last ones differ."""
    return " ".join(["ball", *(("red", "dog", "car")[i % 3] for i in range(count - 1))])


def stock_call(pipe, name, prompt, **more):
    """(arguments of the transformer, token ids and states of the text encoder) of a stock call."""
    calls, encoded = [], []

    def keep(module, args, kwargs):
        calls.append(call_arguments(module, args, kwargs))

    def read(module, args, kwargs, output):
        encoded.append((kwargs["input_ids"][0].tolist(), output.hidden_states[-3][0]))

    handles = [
        pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True),
        pipe.text_encoder.register_forward_hook(read, with_kwargs=True),
    ]
    call(pipe, steps=1, prompt=prompt, **sizes_of(name), **more)
    for handle in handles:
        handle.remove()
    return calls[0], *encoded[0]


@pytest.mark.parametrize("count", [1, 12, 247, 248, 249, 250, 251, 252, 253, 254, 300])
@pytest.mark.parametrize("name", FAMILIES)
def test_each_token_of_the_prompt_is_in_its_slot(pipes, name, count):
    pipe, prompt = pipes(name), words(count)
    given, ids, states = stock_call(pipe, name, prompt)
    backbone, text = backbone_of(pipe), given["encoder_hidden_states"][0]
    tokenized = backbone.tokenize(prompt)
    slots = backbone.prompt_slots(given, 0, len(tokenized.ids))
    assert slots == Slots(FAMILIES[name], WINDOW) and len(text) == FAMILIES[name] + WINDOW
    own = pipe.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert len(own) == count
    start = next(i for i in range(600, len(ids)) if ids[i : i + min(count, WINDOW)] == own[:WINDOW])
    read = min(count, WINDOW)
    assert torch.equal(text[slots.own][:read], states[start : start + read])
    assert list(tokenized.ids[:read]) == own[:read]
    ends = np.cumsum([len(word) + 1 for word in prompt.split()]) - 1
    assert [stop for _, stop in tokenized.spans[:read]] == ends[:read].tolist()
    # the line break behind the header of the answer, where there is room for it
    breaks = pipe.tokenizer("\n\n", add_special_tokens=False)["input_ids"]
    assert list(tokenized.ids[read:]) == (breaks if count < WINDOW else [])
    assert int(given["encoder_attention_mask"][0].sum()) == FAMILIES[name] + len(tokenized.ids)


@pytest.mark.parametrize("count", [12, 251, 252, 300])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_prompt_of_a_call_is_checked(pipes, name, count):
    pipe, prompt = pipes(name), words(count)
    with imap.trace(pipe, prompt, ["ball"], imap_qk_matching_target="prompt") as trace:
        call(pipe, steps=1, prompt=prompt, **sizes_of(name))
    assert not any(UNKNOWN in note for note in trace.text_slots.notes)
    assert any("cut off" in note for note in trace.text_slots.notes) == (count >= WINDOW)  # its end, too
    other = imap.trace(pipe, prompt, ["ball"], imap_qk_matching_target="prompt")
    with pytest.raises(imap.ImapError, match="called with another prompt"), other:
        call(pipe, steps=1, prompt=f"A {prompt}", **sizes_of(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_another_share_of_the_picture_or_another_window_is_refused(pipes, name):
    pipe, line = pipes(name), f"{FAMILIES[name]} states of the picture and 252 of the prompt, got"
    for changed in ({"image_embed_interleave": 3}, {"max_sequence_length": 128}):
        with pytest.raises(imap.ImapError, match=line), imap.trace(pipe, PROMPT, **WORDS):
            call(pipe, steps=1, **changed, **sizes_of(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_concept_is_read_after_a_black_picture(pipes, name):
    pipe = pipes(name)
    texts = ("kangaroo", "small dog", words(CONCEPT_WINDOW - 1))
    found = backbone_of(pipe).encode_concepts(texts, "last")
    black = Image.new("RGB", (64, 32))
    for own, text in zip(found, texts, strict=True):
        _, ids, states = stock_call(pipe, name, text, image=black)
        last = pipe.tokenizer(text, add_special_tokens=False)["input_ids"]
        start = next(i for i in range(600, len(ids)) if ids[i : i + len(last)] == last)
        torch.testing.assert_close(own, states[start + len(last) - 1], atol=1e-5, rtol=1e-5)
    _, _, states = stock_call(pipe, name, texts[-1], **pictures_for(pipe))  # another picture has other states
    assert (found[-1] - states[start + len(last) - 1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_the_effect_changes_a_words_own_slots(pipes, name):
    pipe, given = pipes(name), []

    def keep(module, args, kwargs):
        given.append(kwargs["encoder_hidden_states"])

    handle = pipe.transformer.register_forward_pre_hook(keep, with_kwargs=True)
    with imap.trace(pipe, PROMPT, **WORDS, effect=True) as trace:
        call(pipe, steps=1, **sizes_of(name))
    handle.remove()
    assert trace.maps()["effect"].std() > 0 and len(given) == 2
    plain, changed = given
    slots = [(x != plain[0]).any(dim=-1).nonzero().flatten().tolist() for x in changed]
    spans, first = backbone_of(pipe).tokenize(PROMPT).spans, FAMILIES[name]
    for found, word in zip(slots, ("ball", "small dog", "rolls"), strict=True):
        start = PROMPT.index(word)
        own = [first + i for i, (a, b) in enumerate(spans) if a < start + len(word) and b > start]
        assert found == own
    with pytest.raises(imap.ImapError, match="reads them after its picture; set effect_neutral=mean"):
        imap.trace(pipe, PROMPT, **WORDS, effect=True, effect_neutral="dropped")


def test_maps_of_33_channels_are_of_the_frames_that_are_shown(pipes, tmp_path):
    pipe, size = pipes("hunyuanvideo_i2v_33ch"), sizes_of("hunyuanvideo_i2v_33ch")
    picture = tmp_path / "picture.png"
    pictures_for(pipe)["image"].resize((size["width"], size["height"])).save(picture)
    chosen = ["imap_layer=[0,1]", "imap_sep_topk=2", "num_inference_steps=2", "output_dir=out", "effect=true"]
    sizes = [f"{key}={x}" for key, x in size.items()]
    config = composed("sampling", "backbone=hunyuanvideo_i2v_33ch", *sizes, *chosen)
    run = run_settings(OmegaConf.to_container(config, resolve=True), False)
    sample = Sample(PROMPT, ("ball", "small dog"), ("rolling",), image=picture)
    made = sample_video(pipe, sample, run)
    assert len(made.frames) == 9 and made.maps["imap"].shape == made.maps["effect"].shape == (3, 3, 2, 3)
    assert made.maps.mask("ball").shape[0] == 9
    with pytest.raises(imap.ImapError, match="leaves the first four frames out of the video; use imap.trace"):
        sample_video(pipe, sample, replace(run, read="after"))
    with pytest.raises(imap.ImapError, match="leaves the first four frames out of the video; use imap.trace"):
        imap.renoise(pipe, np.zeros((13, 32, 48, 3), np.uint8), prompt=PROMPT, **WORDS)


def test_the_second_call_of_33_channels_is_not_read(pipes):
    pipe, maps, calls = pipes("hunyuanvideo_i2v_33ch"), [], []
    handle = pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    for scale in (6.0, 1.0):
        guidance = backbone_of(pipe).guidance(scale, conditional_only=False)
        with guidance as arguments, imap.trace(pipe, PROMPT, **WORDS) as trace:
            call(pipe, steps=1, negative_prompt="bad", **arguments, **sizes_of("hunyuanvideo_i2v_33ch"))
        maps.append(trace.maps())
    handle.remove()
    assert len(calls) == 3 and all(np.array_equal(maps[0][key], maps[1][key]) for key in maps[1])


def test_a_renoised_clip_is_read_after_its_first_frame(pipes):
    pipe, read, size = pipes("hunyuanvideo_i2v"), [], sizes_of("hunyuanvideo_i2v")
    clip = np.random.default_rng(0).integers(
        0, 255, (size["num_frames"], size["height"], size["width"], 3), dtype=np.uint8
    )

    def keep(module, args, kwargs):
        read.append(kwargs["pixel_values"])

    handle = pipe.text_encoder.register_forward_pre_hook(keep, with_kwargs=True)
    chosen = {"num_inference_steps": 4, "renoise_timestep": [2], "imap_qk_matching_target": "prompt"}
    maps = imap.renoise(pipe, clip, prompt=PROMPT, **WORDS, **chosen).maps
    handle.remove()
    expected = pipe.image_processor(Image.fromarray(clip[0]), return_tensors="pt").pixel_values
    assert torch.equal(read[-1], expected) and len(expected) == 1
    assert not any(UNKNOWN in note for note in maps.facts["notes"])
