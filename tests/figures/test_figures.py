"""The paper's figures: each is written with its numbers, and the numbers agree with the maps."""

import csv
import importlib
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from PIL import Image

import imap.figures.head_maps as head_maps
import imap.figures.study as studies
from imap import ImapError
from imap.figures import FIGURES
from imap.figures.lambda_2 import plot
from imap.figures.methods import KEYS
from imap.figures.separability import counts_of
from imap.methods.motion_heads import SCORES
from imap.methods.registry import MAPS, default_key
from imap.shapes.render import render
from imap.shapes.world.scenes import Conditions
from imap.testing import tiny
from imap.tracing.layer_choice import Lambda2Probe, LayerChoice
from tests.shared import composed

FILES = {
    "teaser": ["teaser.csv", "teaser-1.npy", "teaser-2.npy"],
    "timesteps": ["timesteps.csv", "timesteps.npy"],
    "lambda_2": ["lambda_2.csv", "lambda_2.txt", "lambda_2-maps.png", "lambda_2-maps.npy"],
    "qk_matching": ["qk_matching.csv", "qk_matching.npy"],
    "heads": ["heads.csv"],
    "methods": ["methods.csv", "methods.npy"],
    "separability": ["separability.csv"],
    "runtime": ["runtime.csv", "runtime.md"],
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
    """A function that begins a figure's study with a tiny model."""

    def start(name, family="cogvideox", *settings):
        monkeypatch.setattr(studies, "load", lambda *_: loaded.append(family) or pipes(family))
        return begin(clips, tmp_path, name, family, *settings)

    return start


@pytest.fixture(scope="module")
def drawn(clips, pipes, tmp_path_factory):
    """A function that draws a figure once for all tests, and returns its study and folder."""

    @cache
    def get(name, family="cogvideox", *settings):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(studies, "load", lambda *_: pipes(family))
            study = begin(clips, tmp_path_factory.mktemp(name), name, family, *settings)
        return study, draw(study)

    return get


def begin(clips, folder, name, family, *settings):
    tiny.folder(family)
    common = {"backbone": f"tiny_{family}", "input_json": clips, "output_dir": folder, **SIZE}
    return studies.begin(composed("figures", *(f"{key}={value}" for key, value in common.items()), *settings), name)


def draw(study):
    importlib.import_module(f"imap.figures.{study.out.name}").draw(study)
    return study.out.parent


def table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


QUICK = ("teaser", "heads")  # slow tests draw the others


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FIGURES]
)
def test_a_figure_is_written_with_its_numbers(drawn, name):
    _, folder = drawn(name)
    written = {path.name for path in folder.iterdir()}
    assert set(FILES[name]) <= written
    if name == "runtime":  # a table
        return
    assert {f"{name}.png", f"{name}.pdf"} <= written
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
    study, folder = drawn("separability", "cogvideox", "imap_layer=[1,2]", "imap_sep_topk=2")
    rows = {
        (row["kind"], row["score"], row["separability"], row["k"]): row["value"]
        for row in table(folder, "separability")
    }
    expected = {"6": [], "2": []}  # AP of nouns by k: of GramCol, which takes all heads, and of IMAP
    for sample in study.samples:
        output = study.read(sample)
        for word, truth in study.truths(sample, output).items():
            if word in sample.concepts:
                expected["6"].append(truth.ap(output.maps.of(word, default_key("things"))))
                expected["2"].append(truth.ap(output.maps.of(word, default_key("motions"))))
    for k, values in expected.items():
        assert float(rows["noun", "ap", "CHI", k]) == pytest.approx(np.mean(values), rel=1e-4)
    assert {float(rows["noun", "ap", name, "6"]) for name in SCORES} == {float(rows["noun", "ap", "CHI", "6"])}


def test_the_chosen_k_is_among_those_shown():
    assert counts_of(30, 5) == sorted({*counts_of(30, -1), 5}) and 5 not in counts_of(30, -1)
    assert counts_of(3, 2) == [1, 2, 3]


@pytest.mark.slow
def test_methods_shows_every_registered_map_in_the_papers_order(drawn):
    labels = list(dict.fromkeys(row["map"] for row in table(drawn("methods")[1], "methods")))
    baselines = ["cross attention", "text attention", "ConceptAttention"]
    assert labels == [*baselines, "GramCol", "IMAP", "whole-video column"]
    assert set(labels) == {x.label for x in MAPS}


@pytest.mark.slow
def test_methods_writes_the_maps_and_their_scores(drawn):
    study, folder = drawn("methods")
    sample = study.samples[0]
    output = study.read(sample)
    truths, key, word = study.truths(sample, output), default_key("motions"), sample.motions[0]
    expected = truths[word].scores(output.maps.of(word, key))
    scores = {
        row["score"]: row["value"] for row in table(folder, "methods") if (row["word"], row["map"]) == (word, "IMAP")
    }
    assert {name: float(x) for name, x in scores.items()} == pytest.approx(expected, rel=1e-5, nan_ok=True)
    np.testing.assert_array_equal(np.load(folder / "methods.npy")[KEYS.index(key)], output.maps.of(word, key))


@pytest.mark.slow
def test_lambda_2_comes_from_the_step_that_the_clip_is_noised_to(drawn):
    study, folder = drawn("lambda_2")
    rows = table(folder, "lambda_2")
    with Lambda2Probe(study.backbone, 1, first=1) as probe:
        study.read(study.samples[0], 1)
    with Lambda2Probe(study.backbone, 2, first=2) as another_step:
        study.read(study.samples[0], 2)
    expected = [x for values in probe.choice().lambda_2.values() for x in values]
    np.testing.assert_allclose([float(row["lambda_2"]) for row in rows], expected, rtol=1e-5)
    assert not np.allclose(
        expected, [x for values in another_step.choice().lambda_2.values() for x in values], rtol=1e-3
    )


@pytest.mark.slow
def test_qk_matching_is_the_cross_attention_map_of_the_layer(drawn):
    study, folder = drawn("qk_matching")
    maps, rows = np.load(folder / "qk_matching.npy"), table(folder, "qk_matching")
    sample = study.samples[0]
    word = sample.concepts[0]
    for layer, row in enumerate(rows):
        output = study.read(sample, imap_layer=[layer], maps_layers=[layer, layer + 1])
        expected = output.maps.of(word, "cross attention")
        np.testing.assert_allclose(maps[layer], expected, rtol=1e-4, atol=1e-4)
        object_cells = study.truths(sample, output)[word].own.reshape(len(expected), -1)
        peaks = expected.reshape(len(expected), -1).argmax(axis=1)
        visible = object_cells.any(axis=1)
        share = object_cells[np.arange(len(object_cells)), peaks][visible].mean()
        assert float(row["peak_of_mean_on_object"]) == pytest.approx(share)


@pytest.mark.slow
def test_each_timestep_is_a_pass_of_its_own(drawn):
    study, folder = drawn("timesteps")
    sample, maps = study.samples[0], np.load(folder / "timesteps.npy")
    word = sample.motions[0]
    for i, row in enumerate(table(folder, "timesteps")):
        output = study.read(sample, step=int(row["step"]))
        np.testing.assert_array_equal(maps[i], output.maps.of(word))
        assert 0 < float(row["timestep"]) < 1000


@pytest.mark.slow
def test_teaser_shows_imap_of_motion_words_and_their_means(drawn):
    study, folder = drawn("teaser")
    rows = table(folder, "teaser")
    for i, sample in enumerate(study.samples):
        maps, output = np.load(folder / f"teaser-{i + 1}.npy"), study.read(sample)
        np.testing.assert_array_equal(maps, [output.maps.of(word, "IMAP") for word in sample.motions])
        means = [float(row["mean"]) for row in rows if row["prompt"] == sample.prompt]
        np.testing.assert_allclose(means, maps.mean(axis=(2, 3)).ravel(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_heads_has_the_scores_that_a_run_records(drawn):
    study, folder = drawn("heads", "cogvideox", "imap_layer=[1,3]")
    rows = table(folder, "heads")
    assert sorted({row["layer"] for row in rows}) == ["1", "3"] and len(rows) == 2 * study.backbone.num_heads
    recorded = [study.read(sample).maps.scores for sample in study.samples]
    for row in rows:
        expected = np.mean([scores[int(row["layer"])][1][int(row["head"])] for scores in recorded])
        assert float(row["chi"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["heads", "separability"])
def test_scores_need_the_truth_before_a_model_is_loaded(study, loaded, clips, tmp_path, name):
    bare = tmp_path / "bare.mp4"
    bare.write_bytes((clips.parent / json.loads(clips.read_text())[0]["video_path"]).read_bytes())
    with pytest.raises(ImapError, match=rf"bare.mp4 has no truth-bare.npz beside it, and {name} scores"):
        study(name, "cogvideox", one_clip(clips, tmp_path, video_path=str(bare)))
    assert not loaded


@pytest.mark.slow
def test_ground_truth_of_another_size_is_refused(study):
    cropped = study("heads", "cogvideox", "width=96", "video.resize=crop")
    with pytest.raises(ImapError, match="has frames of 9x96x144, but the clip was read as 9x96x96"):
        draw(cropped)


def one_clip(clips, folder, **changes):
    """The setting that replaces the fixture's list by its first clip, with changes to the entry."""
    entry = json.loads(clips.read_text())[0] | changes
    path = folder / "one_clip.json"
    path.write_text(json.dumps([entry | {"video_path": str(clips.parent / entry["video_path"])}]))
    return f"input_json={path}"


def test_figures_of_heads_refuse_a_single_word_before_a_model_is_loaded(study, loaded, clips, tmp_path):
    with pytest.raises(ImapError, match="heads needs at least two words per clip, and .* has only 'ball'"):
        study("heads", "cogvideox", one_clip(clips, tmp_path, concepts="ball", object=""))
    assert not loaded


@pytest.mark.parametrize("setting", ["surrogate=consensus", "standardize=none", "softmax=True"])
def test_settings_that_single_heads_do_not_support_are_refused_before_a_model_is_loaded(study, loaded, setting):
    with pytest.raises(ImapError, match=f"separability needs {setting.split('=')[0]}=.*; remove {setting}"):
        study("separability", "cogvideox", setting)
    assert not loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads", "separability"])
@pytest.mark.parametrize("words", [("spaceship, wall", ""), ("", "stays, dances")])
def test_words_that_the_ground_truth_lacks_are_named(study, clips, tmp_path, name, words):
    entry = one_clip(clips, tmp_path, concepts=words[0], object=words[1])
    named = ", ".join(word for word in words if word)
    with pytest.raises(ImapError, match=f"has none of the words {named}; use nouns that the clips show"):
        draw(study(name, "cogvideox", entry))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads", "separability"])
def test_prompt_tokens_make_no_difference(drawn, study, name):
    without = table(drawn(name, "wan")[1], name)
    assert table(draw(study(name, "wan", "prompt_tokens=true")), name) == without


@pytest.mark.slow
def test_heads_of_other_layers_are_not_computed(study, monkeypatch):
    calls, one_layer = [], study("heads", "cogvideox", "imap_layer=[2]")
    columns = head_maps.standardized_columns
    monkeypatch.setattr(head_maps, "standardized_columns", lambda *x: calls.append(1) or columns(*x))
    draw(one_layer)
    assert len(calls) == len(one_layer.samples)


def test_lambda_2_names_the_rule_and_the_source_of_the_threshold():
    def texts(choice, family):
        figure = plot(choice, family)
        return [x.get_text() for x in (*figure.legends[0].get_texts(), *figure.axes[0].texts)]

    values, dots = {0: [0.2, 0.3], 1: [0.5, 0.6]}, "a head (bars: their mean)"
    above = texts(LayerChoice(values, 0.4, 0), "cogvideox")
    assert above == ["kept: above 0.4", "left out", dots, "0.4, the paper's"]
    none_above = texts(LayerChoice(values, 0.7, 0), "wan")
    assert none_above == ["kept: the better half, for none is above 0.7", "left out", dots, "0.7, ours"]


@pytest.mark.slow
def test_runtime_marks_parts_of_stages_and_names_the_setup(drawn):
    rows = table(drawn("runtime")[1], "runtime")
    stages, (_, here, paper) = [row["stage"] for row in rows], rows[0]
    of_inference = [x.split("(")[0].strip() for x in stages if x.startswith(" ")]
    assert of_inference == ["of which Gram columns", "of which QK-matching", "of which head selection"]
    assert stages[stages.index("inference, reading maps") + 1].startswith(" ")
    assert float(rows[stages.index("inference without maps")][here]) > 0
    heading, _, *lines = (drawn("runtime")[1] / "runtime.md").read_text().splitlines()
    assert "tiny_cogvideox, CPU (9x96x144, 3 steps, float32)" in heading and len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        stage, seconds, reported = (cell.strip() for cell in line.strip("|").split("|"))
        assert stage == row["stage"].strip() and float(seconds) == pytest.approx(float(row[here]), abs=6e-4)
        assert (reported == "–") == (row[paper] == "")
    assert here == "seconds of tiny_cogvideox, CPU, 9x96x144, 3 steps, float32" and "CogVideoX-5B, A100" in paper


@pytest.mark.slow
def test_a_shorter_list_removes_maps_of_a_longer_one(study, clips, tmp_path):
    assert (draw(study("teaser")) / "teaser-2.npy").is_file()
    folder = draw(study("teaser", "cogvideox", one_clip(clips, tmp_path)))
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
    assert ended.returncode and all(name in ended.stderr for name in (*FIGURES, "unknown figure 'nothing'"))
