"""Which tokens a row is read from: never another word's, and never in silence."""

import json

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

import imap
from imap.backbones import backbone_of
from imap.backbones.english import same_word
from imap.backbones.features import TokenizedText
from imap.backbones.tokens import occurrences, place_of
from imap.backbones.wan import Wan
from imap.testing import tiny
from imap.tracing.text_slots import TextSlots, check_window
from imap.view.card import card
from imap.view.look import Look
from imap.view.sample import open_sample
from imap.view.strip import columns_of, strip
from tests.shared import FAMILIES, PROMPT, SIZES
from tests.tracing.test_trace import WORDS, call

TARGET = {"imap_qk_matching_target": "prompt"}
ONE_WORD = (
    "flying flies, crying cries, tries trying, pass passes, going goes, knife knives, rolls rolled, run running, "
    "ran run, child children, man men, women woman, mouse mice, leaf leaves, grew grows, growing grows, swam swimming, "
    "wolf wolves, boxes box, lying lies, dying die, rode rides, flash flashing, burning burns, panics panicking, "
    "hopping hops, hoping hoped, stopped stopping, opening opens, quit quitting, sees seeing, freed free, tied tying"
)
OTHER_WORDS = (
    "man many, star stares, plane plans, caring car, wine wins, cape caps, cube cubs, kite kit, rate rats, fly flees, "
    "hoping hops, cane cans, even evening, news new, seed see, bed be, his hi, mating matting, hoped hopped, "
    "robed robbed, stripes strips, sky skis, off offer, show shower, pass passenger, wed wedding, car carry"
)


@pytest.mark.parametrize("pair", ONE_WORD.split(", "))
def test_inflections_are_one_word(pair):
    one, other = pair.split()
    assert same_word(one, other) and same_word(other, one)


@pytest.mark.parametrize("pair", OTHER_WORDS.split(", "))
def test_words_that_only_look_alike_are_two(pair):
    one, other = pair.split()
    assert not same_word(one, other) and not same_word(other, one)


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        ("ball", "A Ball, balls and a football", ["Ball"]),  # as written, before other forms
        ("balls", "A ball and a football", ["ball"]),
        ("red ball", "two red  balls, one red-ball", ["red-ball"]),
        ("kicked a ball", "she kicks a ball", ["kicks a ball"]),
        ("hot air balloon", "The hot-air balloon", ["hot-air balloon"]),
        ("hot-air balloon", "The hot air balloon", ["hot air balloon"]),
        ("child's", "a child\u2019s toy", ["child\u2019s"]),
        ("cafe\u0301", "a CAF\u00c9.", ["CAF\u00c9"]),
        ("dog", "\uff44\uff4f\uff47 and dog", ["\uff44\uff4f\uff47", "dog"]),
        ("\u9a6c", "\u4e00\u5339\u9a6c\u5728\u8349\u539f\u4e0a", ["\u9a6c"]),
        ("\u8349\u539f", "\u4e00\u5339\u9a6c\u5728\u8349\u539f\u4e0a", ["\u8349\u539f"]),
        ("dog", "dog\u304c\u8d70\u308b", ["dog"]),
        ("c++", "c++ and c", ["c++"]),
        ("-", "a-b", []),
        ("star", "He stares", []),
        ("ball box", "a ball, box", []),  # no phrase
        ("개", "개가 공을 쫓는다", ["개가"]),
        ("공", "개가 공을 쫓는다", ["공을"]),
        ("개", "개미가 개구리를 본다", []),
        ("고양이", "고양이들이 잔다. 고양이 한 마리", ["고양이"]),
    ],
)
def test_occurrences(words, text, found):
    assert [text[start:stop] for start, stop in occurrences(words, text)] == found


def test_a_word_cut_off_by_the_window_is_told_from_an_absent_one():
    text = "a dog and a dog and a zebra"
    seen = TokenizedText(text, tuple(range(5)), tuple("abcde"), ((0, 1), (2, 5), (6, 9), (10, 11), (12, 15)))
    assert place_of("dog", seen).tokens == (1, 4)
    assert place_of("dog", seen).as_written == ("dog", "dog")
    assert (place_of("zebra", seen).tokens, place_of("zebra", seen).cut_off) == ((), 1)
    assert (place_of("cat", seen).tokens, place_of("cat", seen).cut_off) == ((), 0)


def traced(pipe, own, **given):
    with imap.trace(pipe, own, **WORDS, **TARGET) as trace:
        pipe(**{"num_inference_steps": 1, "output_type": "latent", **SIZES, **given})
    return trace.maps()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("call_prompt", [f"In the morning, {PROMPT}", f"{PROMPT} It rains.", PROMPT[:-1] + "!"])
def test_text_around_the_traces_prompt_is_refused(pipes, family, call_prompt):
    with pytest.raises(imap.ImapError, match="another prompt"):
        traced(pipes(family), PROMPT, prompt=call_prompt)


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_the_negative_prompt_is_not_the_prompt(pipes, family):
    with pytest.raises(imap.ImapError, match="another prompt"):
        traced(pipes(family), PROMPT, prompt="a blue box", negative_prompt=PROMPT, guidance_scale=5.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_matched_to_what_was_encoded_in_the_block_and_noted_otherwise(pipes, family):
    pipe = pipes(family)
    names = ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask")

    def encode(prompt):
        if family == "hunyuanvideo":
            return dict(zip(names, pipe.encode_prompt(prompt), strict=True))
        return {"prompt_embeds": pipe.encode_prompt(prompt, do_classifier_free_guidance=False)[0], "guidance_scale": 1}

    foreign = traced(pipe, PROMPT, **encode(PROMPT))
    assert any("could not be checked" in note for note in foreign.facts["notes"])
    with imap.trace(pipe, PROMPT, **WORDS, **TARGET) as trace:
        pipe(**encode(PROMPT), num_inference_steps=1, output_type="latent", **SIZES)
    assert not any("could not be checked" in note for note in trace.maps().facts["notes"])
    with pytest.raises(imap.ImapError, match="another prompt"), imap.trace(pipe, PROMPT, **WORDS, **TARGET):
        pipe(**encode("A blue box."), num_inference_steps=1, output_type="latent", **SIZES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_that_begins_alike_is_not_taken_for_the_calls(pipes, family):
    pipe = pipes(family)
    with pytest.raises(imap.ImapError, match="another prompt"), imap.trace(pipe, PROMPT, **WORDS, **TARGET):
        pipe.encode_prompt(PROMPT)  # a causal encoder gives its first token the same embedding as that of the next text
        pipe(prompt=PROMPT.replace("red", "blue"), num_inference_steps=1, output_type="latent", **SIZES)


def test_another_template_or_crop_of_hunyuanvideo_is_refused(pipes):
    pipe = pipes("hunyuanvideo")
    template = dict(DEFAULT_PROMPT_TEMPLATE)
    early = {**template, "crop_start": template["crop_start"] - 3}
    with pytest.raises(imap.ImapError, match="another template"):
        traced(pipe, PROMPT, prompt=PROMPT, prompt_template=early)
    with pytest.raises(imap.ImapError, match="another template"):
        traced(pipe, PROMPT, prompt=PROMPT, prompt_template={**template, "template": "Film: " + template["template"]})


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
def test_a_shorter_window_of_the_call_is_refused_with_its_length(pipes, family):
    with pytest.raises(imap.ImapError, match="text window of 8 tokens"):
        traced(pipes(family), PROMPT, prompt=PROMPT, max_sequence_length=8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["prompt", "concepts"])
def test_a_prompt_beyond_the_window_says_where_it_is_cut(pipes, family, target):
    pipe = pipes(family)
    backbone = backbone_of(pipe)
    sentence = " The grass is green and very wide here."
    prompt = "A red ball rolls." + sentence * 80 + " A zebra jumps."
    words = {"concepts": ["ball", "zebra"], "motions": ["jumps"], "imap_qk_matching_target": target}
    with imap.trace(pipe, prompt, **words) as trace:
        pipe(prompt=prompt, num_inference_steps=1, output_type="latent", **SIZES)
    notes = trace.maps().facts["notes"]
    (cut,) = [note for note in notes if "tokens long" in note]
    whole, seen = backbone.token_ids(pipe.tokenizer, prompt), backbone.tokenize(prompt)
    assert f"{len(whole)} tokens long and the model sees {backbone.text_length}" in cut
    rest = cut.split("before ")[1].strip("'")
    assert rest in prompt and len(seen.ids) == backbone.text_length
    told = [note for note in notes if note.startswith("in the part of the prompt that is cut off: zebra, jumps")]
    assert bool(told) is (target == "prompt") and not any("not in the prompt" in note for note in notes)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_places_of_a_repeated_word_are_read_and_said(pipes, family):
    pipe, rows = pipes(family), []
    prompt = "A dog chases a dog."
    with imap.trace(pipe, prompt, concepts=["dog"], **TARGET, observe=lambda *x: rows.append(x[3].rows)) as trace:
        pipe(prompt=prompt, num_inference_steps=1, output_type="latent", **SIZES)
    pieces = backbone_of(pipe).tokenize(prompt).pieces
    read = [pieces[slot] for slot in rows[0][0].nonzero().flatten().tolist()]
    assert "".join(read).replace("\u2581", "").replace("\u0120", "") == "dogdog"
    assert read == trace.maps().facts["read_from_prompt"]["dog"]
    assert torch.allclose(rows[0][0].sum(), torch.tensor(1.0))
    assert any("2 times" in note for note in trace.maps().facts["notes"])


def test_another_form_is_named(pipes):
    with imap.trace(pipes("wan"), PROMPT, concepts=["ball"], motions=["rolling"], **TARGET) as trace:
        call(pipes("wan"), steps=1)
    assert [note for note in trace.maps().facts["notes"] if "rolling" in note] == [
        "'rolling' is read from 'rolls' in the prompt"
    ]


def test_words_are_cleaned_as_the_prompt_is(pipes):
    prompt = "Cats &amp;amp; dogs chase a child\u2019s toy."
    slots = imap.trace(pipes("wan"), prompt, concepts=["Cats &amp; dogs", "child's"], **TARGET).text_slots
    assert slots.places["Cats &amp; dogs"].as_written == ("Cats & dogs",)
    assert slots.places["child's"].as_written == ("child's",)
    assert slots.notes == []


@pytest.mark.parametrize("target", ["prompt", "concepts"])
def test_words_unknown_to_the_tokenizer_are_noted(pipes, target):
    words = ["\u9a6c", "\u72ac", "dog"]
    prompt = "A dog chases \u9a6c and \u72ac"
    trace = imap.trace(pipes("cogvideox"), prompt, concepts=words, imap_qk_matching_target=target)
    (note,) = [x for x in trace.text_slots.notes if "unknown to the model's tokenizer" in x]
    assert "\u9a6c, \u72ac;" in note and "dog" not in note.split(";")[0]


def test_a_word_without_letters_is_refused():
    with pytest.raises(imap.ImapError, match="finds no letters"):
        check_window(Wan, lambda text: {"input_ids": [1]}, "\u200b")


def test_untaught_words_are_marked_in_meta_report_and_strip(tmp_path):
    pipe = DiffusionPipeline.from_pretrained(imap.demo_model())
    words = {"concepts": ["ball", "zebra"], "motions": ["jumping"], "prompt": "a ball jumps while a box stays"}
    latents = torch.randn(backbone_of(pipe).latent_shape(25, 64, 64), generator=torch.Generator().manual_seed(0))
    maps = imap.renoise(pipe, latents=latents, **words, **TARGET, renoise_timestep=[15]).maps
    maps.save(tmp_path / "sample")
    shown = open_sample(tmp_path / "sample")
    (note,) = [note for note in shown.notes if "never taught" in note]
    assert "never taught: zebra;" in note  # "jumping" is read from "jumps", which was taught
    assert note in json.loads((tmp_path / "sample" / "meta.json").read_text())["notes"]
    assert note in card(shown, 100, ["video_col_layers"])["notes"]
    rows = [(text, "video_col_layers", np.zeros((7, 8, 8)), None) for text in maps.texts]
    look = Look()
    figure = strip(shown, rows, look.colormap, look.opacity, look.space, most=len(columns_of(7)))
    assert "never taught: zebra" in " ".join(x.get_text() for x in figure.texts).replace("\n", " ")


def test_notes_are_logged_once(caplog):
    pipe = tiny.build("wan")
    backbone = backbone_of(pipe)
    method = imap.trace(pipe, PROMPT, concepts=["zebra"], **TARGET).method
    caplog.clear()
    first = TextSlots(backbone, method, ["zebra"], [], PROMPT)
    TextSlots(backbone, method, ["zebra"], [], PROMPT, logged=first.logged)
    assert len(caplog.records) == 1
