"""The paper's figures: each is written with its numbers, and the numbers are those of the maps."""

import csv
import importlib
import subprocess
import sys

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

import imap.figures.study as studies
from imap import ImapError, tiny
from imap.commandline import literal
from imap.figures.__main__ import NAMES
from imap.figures.separability import counts_of
from imap.layers import Spectrum
from imap.maps.separability import SCORES
from imap.presets import config_folder
from imap.shapes.render import render
from imap.shapes.world import Conditions

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


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of the embedded world at a tiny model's size, with their truth."""
    return render(tmp_path_factory.mktemp("clips"), 2, (9, 128, 192), 8, 5, Conditions())


@pytest.fixture
def study(clips, pipes, tmp_path, monkeypatch):
    """Begins a figure's study with a tiny model."""

    def begin(name, family="cogvideox", *more):
        tiny.folder(family)
        monkeypatch.setattr(studies, "load", lambda *_: pipes(family))
        asked = [f"backbone=tiny_{family}", f"input_json={clips}", f"output_dir={tmp_path}", "height=128", "width=192"]
        asked += ["num_frames=9", "num_inference_steps=3", "renoise_timestep=1", *more]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return studies.begin(compose("figures", [literal(x) for x in asked]), name)

    return begin


def draw(study):
    importlib.import_module(f"imap.figures.{study.out.name}").draw(study)
    return study.out.parent


def table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_written_with_its_numbers_and_the_same_each_time(study, name):
    folder = draw(study(name))
    written = {path.name for path in folder.iterdir()}
    assert {f"{name}.png", f"{name}.pdf", *FILES[name]} <= written
    with Image.open(folder / f"{name}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    if name != "runtime":
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        draw(study(name))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("family", ["wan", "hunyuanvideo"])
@pytest.mark.parametrize("name", ["methods", "qk_matching", "lambda_2", "separability"])
def test_other_families(study, name, family):
    folder = draw(study(name, family))
    assert table(folder, name)


def test_separability_of_all_heads_is_gramcol_and_of_the_chosen_ones_imap(study):
    own = study("separability", "cogvideox", "imap_layer=[1,2]", "imap_sep_topk=2")
    rows = {
        (row["kind"], row["score"], row["separability"], row["k"]): row["value"]
        for row in table(draw(own), "separability")
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


def test_methods_are_in_the_papers_order(study):
    named = list(dict.fromkeys(row["map"] for row in table(draw(study("methods")), "methods")))
    assert named == ["cross attention", "ConceptAttention", "GramCol", "IMAP"]


def test_lambda_2_is_of_the_step_that_the_clip_is_noised_to(study):
    own = study("lambda_2")
    rows = table(draw(own), "lambda_2")
    with Spectrum(own.backbone, 1, first=1) as spectrum:
        own.read(own.samples[0], 1)
    with Spectrum(own.backbone, 2, first=2) as other:
        own.read(own.samples[0], 2)
    expected = [x for values in spectrum.choice().lambda_2.values() for x in values]
    np.testing.assert_allclose([float(row["lambda_2"]) for row in rows], expected, rtol=1e-5)
    assert not np.allclose(expected, [x for values in other.choice().lambda_2.values() for x in values], rtol=1e-3)


def test_qk_matching_is_the_cross_attention_map_of_the_layer(study):
    own = study("qk_matching")
    folder = draw(own)
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


def test_timesteps_are_read_alone(study):
    own = study("timesteps")
    folder = draw(own)
    sample, maps = own.samples[0], np.load(folder / "timesteps.npy")
    word = sample.motions[-1]
    for i, row in enumerate(table(folder, "timesteps")):
        output = own.read(sample, step=int(row["step"]))
        np.testing.assert_array_equal(maps[i], output.maps.of(word))
        assert 0 < float(row["timestep"]) < 1000


def test_heads_of_the_selected_layers_have_the_scores_that_a_run_records(study):
    own = study("heads", "cogvideox", "imap_layer=[1,3]")
    rows = table(draw(own), "heads")
    assert sorted({row["layer"] for row in rows}) == ["1", "3"] and len(rows) == 2 * own.backbone.num_heads
    recorded = [own.read(sample).maps.scores for sample in own.samples]
    for row in rows:
        expected = np.mean([scores[int(row["layer"])][1][int(row["head"])] for scores in recorded])
        assert float(row["chi"]) == pytest.approx(expected, rel=1e-3)


def test_scores_need_the_truth(study, clips, tmp_path):
    own = study("heads")
    bare = tmp_path / "bare.mp4"
    bare.write_bytes(own.samples[0].video_path.read_bytes())
    lonely = studies.Study(own.pipe, own.run, [studies.replace(own.samples[0], video_path=bare)], own.out)
    with pytest.raises(ImapError, match=r"bare.mp4 has no truth-bare.npz beside it"):
        draw(lonely)


def test_without_scikit_learn_figures_do_without_scores_or_say_so(study, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "imap.evaluation.scores", raising=False)
    monkeypatch.delattr("imap.evaluation.scores", raising=False)
    monkeypatch.delitem(sys.modules, "imap.shapes.truth", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    assert {row["score"] for row in table(draw(study("methods")), "methods")} == {""}
    assert "maps are not scored: scores need scikit-learn" in caplog.text
    with pytest.raises(ImapError, match="scores need scikit-learn"):
        draw(study("heads"))


def test_the_truth_of_a_clip_is_not_laid_over_another_cut_of_it(study):
    own = study("heads", "cogvideox", "height=128", "width=128", "video.resize=crop")
    with pytest.raises(ImapError, match="is of 9x128x192, and the clip was read as 9x128x128"):
        draw(own)


def test_a_single_word_has_no_map_of_a_head(study):
    with pytest.raises(ImapError, match="two words in every clip"):
        own = study("heads", "cogvideox", "concept_option=s")
        own = studies.Study(own.pipe, own.run, [studies.replace(own.samples[0], concepts=["ball"])], own.out)
        draw(own)


def test_what_the_figure_is_not_of_is_refused(study):
    with pytest.raises(ImapError, match="this figure is of surrogate=per_head"):
        draw(study("separability", "cogvideox", "surrogate=consensus"))


def test_automatic_layers_are_refused(study):
    with pytest.raises(ImapError, match="imap_layer=auto is for the doors"):
        study("methods", "cogvideox", "imap_layer=auto")


def test_names_are_told():
    told = subprocess.run([sys.executable, "-m", "imap.figures", "nothing"], capture_output=True, text=True)
    assert told.returncode == 1 and all(name in told.stderr for name in (*NAMES, "unknown figure 'nothing'"))
