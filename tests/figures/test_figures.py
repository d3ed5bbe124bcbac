"""The paper's figures: each is written with its numbers, and the numbers are those of the maps."""

import csv
import importlib
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from PIL import Image

import imap.figures.observed as observed
import imap.figures.study as studies
from imap import ImapError
from imap.figures import FIGURES
from imap.figures.lambda_2 import plot
from imap.figures.separability import counts_of
from imap.methods.motion_heads import SCORES
from imap.shapes.render import render
from imap.shapes.world.scenes import Conditions
from imap.testing import tiny
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice
from tests.conftest import composed

FILES = {
    "teaser": ["teaser.csv", "teaser-1.npy", "teaser-2.npy"],
    "timesteps": ["timesteps.csv", "timesteps.npy"],
    "lambda_2": ["lambda_2.csv", "lambda_2.txt", "lambda_2-maps.png", "lambda_2-maps.npy"],
    "qk_matching": ["qk_matching.csv", "qk_matching.npy"],
    "heads": ["heads.csv"],
    "methods": ["methods.csv", "methods.npy"],
    "separability": ["separability.csv"],
    "runtime": ["runtime.csv"],
}


SIZE = {"height": 96, "width": 144, "num_frames": 9, "num_inference_steps": 3, "renoise_timestep": 1}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two small clips of the embedded world with their truth, for all tests."""
    return render(tmp_path_factory.mktemp("clips"), 2, (9, 96, 144), 8, 5, Conditions())


@pytest.fixture
def loaded():
    """Families whose model was loaded."""
    return []


@pytest.fixture
def study(clips, pipes, tmp_path, monkeypatch, loaded):
    """Begins a figure's study with a tiny model."""

    def start(name, family="cogvideox", *more):
        monkeypatch.setattr(studies, "load", lambda *_: loaded.append(family) or pipes(family))
        return begin(clips, tmp_path, name, family, *more)

    return start


@pytest.fixture(scope="module")
def drawn(clips, pipes, tmp_path_factory):
    """Draws a figure once for all tests that look at it; gives its study and folder."""

    @cache
    def get(name, family="cogvideox", *more):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(studies, "load", lambda *_: pipes(family))
            figure = begin(clips, tmp_path_factory.mktemp(name), name, family, *more)
        return figure, draw(figure)

    return get


def begin(clips, folder, name, family, *more):
    tiny.folder(family)
    settings = {"backbone": f"tiny_{family}", "input_json": clips, "output_dir": folder, **SIZE}
    return studies.begin(composed("figures", *(f"{key}={value}" for key, value in settings.items()), *more), name)


def draw(study):
    importlib.import_module(f"imap.figures.{study.out.name}").draw(study)
    return study.out.parent


def table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


QUICK = ("methods", "qk_matching", "lambda_2")  # the others are drawn by the slow tests


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FIGURES]
)
def test_a_figure_is_written_with_its_numbers(drawn, name):
    _, folder = drawn(name)
    written = {path.name for path in folder.iterdir()}
    assert {f"{name}.png", f"{name}.pdf", *FILES[name]} <= written
    with Image.open(folder / f"{name}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FIGURES if name != "runtime"])
def test_a_figure_is_the_same_each_time(drawn, study, name):
    first, again = drawn(name)[1], draw(study(name))
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in first.iterdir()
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wan", "hunyuanvideo"])
@pytest.mark.parametrize("name", ["methods", "qk_matching", "lambda_2", "separability"])
def test_other_families(drawn, name, family):
    assert table(drawn(name, family)[1], name)


@pytest.mark.slow
def test_separability_of_all_heads_is_gramcol_and_of_the_chosen_ones_imap(drawn):
    own, folder = drawn("separability", "cogvideox", "imap_layer=[1,2]", "imap_sep_topk=2")
    rows = {
        (row["kind"], row["score"], row["separability"], row["k"]): row["value"]
        for row in table(folder, "separability")
    }
    values = {"imap_layers": [], "sel_imap_layers": []}
    for sample in own.samples:
        output = own.read(sample)
        for word, truth in own.truths(sample, output).items():
            for key, found in values.items():
                if word in sample.concepts:
                    found.append(truth.scores(output.maps.of(word, key))["ap"])
    for key, k in (("imap_layers", "6"), ("sel_imap_layers", "2")):
        assert float(rows["noun", "ap", "CHI", k]) == pytest.approx(np.mean(values[key]), rel=1e-4)
    assert {float(rows["noun", "ap", name, "6"]) for name in SCORES} == {float(rows["noun", "ap", "CHI", "6"])}


def test_the_k_that_is_asked_for_is_among_those_shown():
    assert counts_of(30, 5) == sorted({*counts_of(30, -1), 5}) and 5 not in counts_of(30, -1)
    assert counts_of(3, 2) == [1, 2, 3]


def test_methods_are_in_the_papers_order(drawn):
    named = list(dict.fromkeys(row["map"] for row in table(drawn("methods")[1], "methods")))
    assert named == ["cross attention", "ConceptAttention", "GramCol", "IMAP"]


def test_lambda_2_is_of_the_step_that_the_clip_is_noised_to(drawn):
    own, folder = drawn("lambda_2")
    rows = table(folder, "lambda_2")
    with Lambda2Probe(own.backbone, 1, first=1) as probe:
        own.read(own.samples[0], 1)
    with Lambda2Probe(own.backbone, 2, first=2) as other:
        own.read(own.samples[0], 2)
    expected = [x for values in probe.choice().lambda_2.values() for x in values]
    np.testing.assert_allclose([float(row["lambda_2"]) for row in rows], expected, rtol=1e-5)
    assert not np.allclose(expected, [x for values in other.choice().lambda_2.values() for x in values], rtol=1e-3)


def test_qk_matching_is_the_cross_attention_map_of_the_layer(drawn):
    own, folder = drawn("qk_matching")
    maps, rows = np.load(folder / "qk_matching.npy"), table(folder, "qk_matching")
    sample = own.samples[0]
    word = sample.concepts[0]
    for layer, row in enumerate(rows):
        output = own.read(sample, imap_layer=[layer], maps_layers=[layer, layer + 1])
        expected = output.maps.of(word, "cross_attention_maps_layers")
        np.testing.assert_allclose(maps[layer], expected, rtol=1e-4, atol=1e-4)
        truth = own.truths(sample, output)[word].own.reshape(len(expected), -1)
        peaks = expected.reshape(len(expected), -1).argmax(axis=1)
        visible = truth.any(axis=1)
        share = truth[np.arange(len(truth)), peaks][visible].mean()
        assert float(row["peak_of_mean_on_object"]) == pytest.approx(share)


@pytest.mark.slow
def test_timesteps_are_read_alone(drawn):
    own, folder = drawn("timesteps")
    sample, maps = own.samples[0], np.load(folder / "timesteps.npy")
    word = sample.motions[0]
    for i, row in enumerate(table(folder, "timesteps")):
        output = own.read(sample, step=int(row["step"]))
        np.testing.assert_array_equal(maps[i], output.maps.of(word))
        assert 0 < float(row["timestep"]) < 1000


@pytest.mark.slow
def test_heads_of_the_selected_layers_have_the_scores_that_a_run_records(drawn):
    own, folder = drawn("heads", "cogvideox", "imap_layer=[1,3]")
    rows = table(folder, "heads")
    assert sorted({row["layer"] for row in rows}) == ["1", "3"] and len(rows) == 2 * own.backbone.num_heads
    recorded = [own.read(sample).maps.scores for sample in own.samples]
    for row in rows:
        expected = np.mean([scores[int(row["layer"])][1][int(row["head"])] for scores in recorded])
        assert float(row["chi"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["heads", "separability"])
def test_scores_need_the_truth_before_a_model_is_loaded(study, loaded, clips, tmp_path, name):
    bare = tmp_path / "bare.mp4"
    bare.write_bytes((clips.parent / json.loads(clips.read_text())[0]["video_path"]).read_bytes())
    with pytest.raises(ImapError, match=rf"bare.mp4 has no truth-bare.npz beside it, and {name} scores"):
        study(name, "cogvideox", asked_for(clips, tmp_path, video_path=str(bare)))
    assert not loaded


@pytest.mark.slow
def test_the_truth_of_a_clip_is_not_laid_over_another_cut_of_it(study):
    own = study("heads", "cogvideox", "width=96", "video.resize=crop")
    with pytest.raises(ImapError, match="is of 9x96x144, and the clip was read as 9x96x96"):
        draw(own)


def asked_for(clips, folder, **words):
    """A list of one of the clips with other words, as settings that replace the fixture's list."""
    entry = json.loads(clips.read_text())[0]
    path = folder / "asked.json"
    path.write_text(json.dumps([entry | words | {"video_path": str(clips.parent / (entry | words)["video_path"])}]))
    return f"input_json={path}"


def test_figures_of_heads_refuse_a_single_word_before_a_model_is_loaded(study, loaded, clips, tmp_path):
    asked = asked_for(clips, tmp_path, concepts="ball", object="")
    with pytest.raises(ImapError, match="heads needs two words in every clip, and .* has 'ball' alone"):
        study("heads", "cogvideox", asked)
    assert not loaded


@pytest.mark.parametrize("setting", ["surrogate=consensus", "standardize=none", "softmax=True"])
def test_what_the_figure_is_not_of_is_refused_before_a_model_is_loaded(study, loaded, setting):
    with pytest.raises(ImapError, match=f"separability is of {setting.split('=')[0]}=.*; leave {setting} out"):
        study("separability", "cogvideox", setting)
    assert not loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads", "separability"])
@pytest.mark.parametrize("words", [("spaceship, wall", ""), ("", "stays, dances")])
def test_words_that_the_truth_does_not_have_are_named(study, clips, tmp_path, name, words):
    asked = asked_for(clips, tmp_path, concepts=words[0], object=words[1])
    named = ", ".join(word for word in words if word)
    with pytest.raises(ImapError, match=f"scores none of the words {named}; name nouns that are seen there"):
        draw(study(name, "cogvideox", asked))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads", "separability"])
def test_prompt_tokens_make_no_difference(drawn, study, name):
    plain = table(drawn(name, "wan")[1], name)
    assert table(draw(study(name, "wan", "prompt_tokens=true")), name) == plain


@pytest.mark.slow
def test_only_the_layers_that_are_drawn_are_looked_at(study, monkeypatch):
    seen, own = [], study("heads", "cogvideox", "imap_layer=[2]")
    plain = observed.standardized_columns
    monkeypatch.setattr(observed, "standardized_columns", lambda *x: seen.append(1) or plain(*x))
    draw(own)
    assert len(seen) == len(own.samples)


def test_the_rule_that_kept_the_layers_is_told_and_whose_the_threshold_is():
    def told(choice, family):
        figure = plot(choice, family)
        return [x.get_text() for x in (*figure.legends[0].get_texts(), *figure.axes[0].texts)]

    values, dots = {0: [0.2, 0.3], 1: [0.5, 0.6]}, "a head (bars: their mean)"
    assert told(LayerChoice(values, 0.4, 0), "cogvideox") == ["kept: above 0.4", "left out", dots, "0.4, the paper's"]
    none = told(LayerChoice(values, 0.7, 0), "wan")
    assert none == ["kept: the better half, for none is above 0.7", "left out", dots, "0.7, ours"]


@pytest.mark.slow
def test_runtime_says_what_is_part_of_what_and_of_what_it_is(drawn):
    rows = table(drawn("runtime")[1], "runtime")
    stages, (_, here, paper) = [row["stage"] for row in rows], rows[0]
    of_inference = [x.split("(")[0].strip() for x in stages if x.startswith(" ")]
    assert of_inference == ["of which Gram columns", "of which QK-matching", "of which head selection"]
    assert stages[stages.index("inference, reading maps") + 1].startswith(" ")
    assert float(rows[stages.index("inference without maps")][here]) > 0
    assert here == "seconds of tiny_cogvideox, CPU, 9x96x144, 3 steps, float32" and "CogVideoX-5B, A100" in paper


@pytest.mark.slow
def test_a_shorter_list_leaves_no_map_of_the_longer_one(study, clips, tmp_path):
    assert (draw(study("teaser")) / "teaser-2.npy").is_file()
    folder = draw(study("teaser", "cogvideox", asked_for(clips, tmp_path)))
    assert [path.name for path in sorted(folder.glob("teaser-*.npy"))] == ["teaser-1.npy"]


@pytest.mark.slow
def test_figures_do_not_import_the_runner():
    code = "import sys, imap.figures.study; sys.exit('imap.runs.runner' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_automatic_layers_are_refused(study):
    with pytest.raises(ImapError, match="imap_layer=auto is for imap sample"):
        study("methods", "cogvideox", "imap_layer=auto")


@pytest.mark.slow
def test_an_unknown_figure_is_answered_with_the_known_ones():
    ended = subprocess.run([sys.executable, "-m", "imap.figures", "nothing"], capture_output=True, text=True)
    assert ended.returncode == 1 and all(name in ended.stderr for name in (*FIGURES, "unknown figure 'nothing'"))
