"""imap score report: curves against oracles, and the page in a browser with the numbers of the scores."""

import csv
import json
import re

import numpy as np
import pytest
from browser import Browser, find
from PIL import Image
from sklearn.metrics import precision_recall_curve

from imap.errors import ImapError
from imap.evaluation.__main__ import main
from imap.evaluation.explorer.curves import (
    REACH,
    RECALLS,
    from_onset,
    mean_curve,
    precision_at_recall,
    standardized,
)
from imap.evaluation.explorer.entries import Entry, entries_of
from imap.evaluation.explorer.films import film
from imap.evaluation.explorer.means import means_of
from imap.evaluation.other_maps import OtherMaps
from imap.evaluation.run_scores import score_runs
from imap.evaluation.sample_scores import Job, score
from imap.evaluation.tables import read_scores, table
from imap.map_files import TRUTH
from imap.media.truth import Truth, write_truth
from imap.saliency import Maps

FRAMES, LATENT = 25, 7
CAPTIONS = ["A ball jumps.", "A <b>kite</b> & a ball </script> jump."]


@pytest.mark.parametrize("levels", [3, 10_000])
def test_precision_is_that_of_scikit_learns_curve(levels):
    rng = np.random.default_rng(levels)
    x, truth = rng.integers(levels, size=(4, 5, 6)).astype(np.float32), rng.random((4, 5, 6)) < 0.2
    precision, recall, _ = precision_recall_curve(truth.ravel(), x.ravel())
    # scikit-learn goes from the lowest threshold to the highest; its last point belongs to no threshold
    expected = [precision[:-1][recall[:-1] >= r - 1e-9][-1] for r in RECALLS]
    np.testing.assert_allclose(precision_at_recall(x, truth), expected)
    assert np.isnan(precision_at_recall(x, np.zeros_like(truth))).all()


def test_a_constant_map_has_the_share_of_true_cells_at_every_recall():
    assert (precision_at_recall(np.ones(8), np.arange(8) < 2) == 0.25).all()


def test_energy_is_standardized_over_known_frames():
    np.testing.assert_allclose(standardized(np.array([1.0, 3.0, np.nan])), [-1, 1, np.nan])
    np.testing.assert_array_equal(standardized(np.array([2.0, 2.0, np.nan])), [0, 0, np.nan])


def test_curves_are_aligned_at_the_first_moving_frame():
    moving = np.array([0, 0, 1, 1, 0], bool)
    aligned = from_onset(np.arange(5.0), moving)
    assert aligned[REACH] == 2 and len(aligned) == 2 * REACH + 1
    np.testing.assert_array_equal(aligned[REACH - 2 : REACH + 3], np.arange(5))
    assert np.isnan(aligned).sum() == len(aligned) - 5
    for never in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(from_onset(np.arange(5.0), never)).all()


def test_a_mean_curve_has_the_interval_of_the_mean_at_every_point():
    values = np.random.default_rng(1).normal(size=(40, 3)) * [1, 2, 0]
    mean, low, high = mean_curve(list(values))
    np.testing.assert_allclose(mean, values.mean(axis=0))
    np.testing.assert_allclose((high - low)[:2] / 3.92, values.std(axis=0)[:2] / np.sqrt(40), rtol=0.08)
    assert low[2] == mean[2] == high[2] == 0


def test_points_of_few_clips_are_left_out_of_a_mean_curve():
    nan = np.nan
    mean, low, high = mean_curve(
        [np.array([1.0, 2.0, nan, nan]), np.array([3.0, nan, 5.0, nan]), np.array([5.0, 4.0, nan, nan])]
    )
    np.testing.assert_allclose(mean, [3, 3, nan, nan])
    assert np.isnan([low[2:], high[2:]]).all() and low[0] < 3 < high[0]


def write_sample(folder, index):
    """A ball that jumps in frames 9 to 16, at the left; maps are the truth with more noise in later samples."""
    rng = np.random.default_rng(index)
    masks, moving = np.zeros((1, FRAMES, 32, 32), bool), np.zeros((1, FRAMES), bool)
    masks[0, :, 8:24, :16], moving[0, 9:17] = True, True
    place = np.zeros((LATENT, 8, 8), np.float32)
    place[:, 2:6, :4] = 1
    when = np.isin(np.arange(LATENT), (3, 4))[:, None, None]
    noise = rng.normal(size=(4, LATENT, 8, 8)).astype(np.float32) * (0.2 + index / 2)
    maps = {
        "sel_imap_layers": np.stack([place, place * when]) + noise[:2],
        "imap_layers": np.stack([place, place]) + noise[2:],
        "imap": np.stack([place, place]),
        **{f"random_heads_{draw}_layers": rng.normal(size=(2, LATENT, 8, 8)).astype(np.float32) for draw in (1, 2)},
    }
    request = {"sample": {"prompt": CAPTIONS[index % 2]}}
    facts = {"pixels": [32, 32], "method": {"show": "published"}}
    Maps(maps, ("ball", "jumps"), frozenset({"jumps"}), facts=facts).save(folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "request": request}))
    write_truth(folder / TRUTH, Truth(["ball"], ["jumps"], masks, moving))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    for index in range(6):
        write_sample(folder / f"00{index}-ball", index)
    other = folder.parent / "daam"
    for index in range(6):
        (other / f"00{index}-ball").mkdir(parents=True)
        np.save(other / f"00{index}-ball" / "jumps.npy", np.full((FRAMES, 4, 4), index))
    main(["run", str(folder), "--baselines", "--other", f"daam={other}"])
    main(["report", str(folder)])
    return folder


@pytest.mark.slow
def test_entries_have_the_scores_and_curves_of_every_row(run):
    entries = entries_of(run)
    assert [(entry.sample, entry.word) for entry in entries[:2]] == [("000-ball", "ball"), ("000-ball", "jumps")]
    first = entries[1]
    assert list(first.scores) == ["IMAP", "GramCol", "random heads", "uniform", "centre prior", "daam"]
    assert list(entries[0].scores) == list(first.scores)[:-1], "the other tool has no map of the noun"
    assert first.moving.tolist() == [False, False, False, True, True, False, False]
    values = {(x.sample, x.word, x.map, x.metric): x.value for x in read_scores([run / "scores.csv"])}
    assert first.scores["IMAP"]["ap"] == values["000-ball", "jumps", "sel_imap_layers", "ap"]
    draws = [values["000-ball", "jumps", f"random_heads_{draw}_layers", "ap"] for draw in (1, 2)]
    assert first.scores["random heads"]["ap"] == pytest.approx(np.mean(draws)) and draws[0] != draws[1]
    np.testing.assert_allclose(first.precision["uniform"], first.scores["uniform"]["ap"], rtol=1e-5)
    assert first.energy["IMAP"][3:5].min() > first.energy["IMAP"][[0, 1, 2, 5, 6]].max()
    assert list(entries_of(run, ["GramCol", "imap"])[0].scores) == ["GramCol", "GramCol, all layers"]


@pytest.mark.slow
def test_means_are_those_of_the_table(run):
    entries = entries_of(run)
    means, expected = means_of(entries, "motion"), table(read_scores([run / "scores.csv"]), "motion")
    for row in ("IMAP", "random heads", "daam"):
        for metric in ("ap", "in_object_auc"):
            np.testing.assert_allclose(means.table.cells[row, metric][0], expected.cells[row, metric][0], rtol=1e-5)
    np.testing.assert_allclose(
        means.precision["IMAP"][0], np.mean([entry.precision["IMAP"] for entry in entries[1::2]], axis=0)
    )
    onset = REACH + np.arange(-3, 4)  # the motion begins in latent frame 3 of 7
    np.testing.assert_allclose(
        means.onset["GramCol"][0][onset], np.mean([entry.energy["GramCol"] for entry in entries[1::2]], axis=0)
    )
    assert (means.moving[onset] > 0).tolist() == [False, False, False, True, True, False, False]
    assert not len(means_of(entries, "concept").onset)


def test_figures_are_written_beside_the_page(run):
    names = {path.name for path in (run / "scores").iterdir()}
    stems = ("precision_recall_motion", "precision_recall_concept", "temporal")
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")} | {"films"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    import os

    if find() is None:
        (pytest.fail if os.environ.get("IMAP_CHROMIUM") == "required" else pytest.skip)("there is no Chromium")
    browser = Browser(find(), tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


LISTED = """
const list = id => [...document.querySelectorAll(`#${id} .entry`)].map(x =>
  [x.querySelector("span").textContent.trim(), parseFloat(x.querySelector("output").textContent)]);
const choose = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(new Event("change")); };
"""


@pytest.mark.slow
def test_the_page_lists_the_worst_first_with_the_numbers_of_the_table(run, browser):
    seen = browser.look(
        run / "scores.html", (1280, 900), LISTED + "return [list('means'), list('clips'), list('words')]", False
    )
    rows = [row for row in csv.DictReader((run / "scores.csv").open()) if row["metric"] == "ap"]
    imap = sorted(float(row["value"]) for row in rows if (row["map"], row["word"]) == ("sel_imap_layers", "jumps"))
    means, clips, words = seen
    assert [value for _, value in clips] == pytest.approx(imap, abs=6e-4)
    assert clips[0][0] == "jumps A <b>kite</b> & a ball </script> jump.", "the noisiest sample is of the second caption"
    assert words == [["jumps 6 clips", pytest.approx(np.mean(imap), abs=6e-4)]]
    assert dict(means)["IMAP 6 clips"] == pytest.approx(np.mean(imap), abs=6e-4)
    assert [value for _, value in means] == sorted((value for _, value in means), reverse=True)


def test_choices_of_the_page_change_what_it_lists(run, browser):
    script = """
    choose("metric", "in_object_auc"); choose("row", "GramCol"); choose("less", "IMAP");
    const less = list("clips");
    choose("kind", "concept");
    const left = byId("metric").value, nouns = list("clips").length;
    document.querySelector("#words .entry").click();
    document.querySelector("#clips .entry").click();
    const open = document.querySelector(".open");
    return [less, left, nouns, open.querySelectorAll("svg").length, open.querySelectorAll(".film").length];
    """
    less, metric, nouns, drawn, films = browser.look(run / "scores.html", (390, 844), LISTED + script, True)
    values = {(x.sample, x.map): x.value for x in read_scores([run / "scores.csv"]) if x.metric == "in_object_auc"}
    expected = sorted(values[f"00{i}-ball", "imap_layers"] - values[f"00{i}-ball", "sel_imap_layers"] for i in range(6))
    assert [value for _, value in less] == pytest.approx(expected, abs=1.1e-3)
    assert metric == "ap", "nouns have no in_object_auc"
    assert (nouns, drawn, films) == (6, 2, 3), "two curves, and films of the truth, GramCol and IMAP"


def test_the_frames_that_move_are_shaded(run, browser):
    script = 'document.querySelector("#clips .entry").click(); return document.querySelectorAll(".open .moving").length'
    assert browser.look(run / "scores.html", (1280, 900), script, False) == 2
    text = (run / "scores.html").read_text(encoding="utf-8")
    assert len(re.findall("</script>", text)) == 1 and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def score_again_without_a_table(run):
    """What a command leaves that is killed before it writes scores.csv."""
    path = run / "000-ball/npy/imap_layers.npy"
    np.save(path, -np.load(path))
    names, others = ("imap_layers", "daam"), (OtherMaps("daam", run.parent / "daam"),)
    assert score(Job(run / "000-ball", run / ".scores/000-ball.json", names, others)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "scores.csv").unlink(), "has no scores.csv; make it with"),
        (lambda run: (run / "000-ball" / TRUTH).touch(), "000-ball has changed since it was scored"),
        (lambda run: np.save(run.parent / "daam/000-ball/jumps.npy", np.ones((LATENT, 2, 2))), "has changed since"),
        (lambda run: score_again_without_a_table(run), "000-ball has changed since it was scored"),
        (lambda run: (run / ".scores/003-ball.json").unlink(), "003-ball has changed since it was scored"),
    ],
)
def test_scores_that_no_longer_hold_are_refused(change, message, tmp_path):
    folder, other = tmp_path / "run", tmp_path / "daam"
    for index in range(4):
        write_sample(folder / f"00{index}-ball", index)
        (other / f"00{index}-ball").mkdir(parents=True)
        np.save(other / f"00{index}-ball/jumps.npy", np.zeros((LATENT, 2, 2)))
    main(["run", str(folder), "--maps", "imap_layers", "--other", f"daam={other}"])
    change(folder)
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(["report", str(folder)])
    assert not (folder / "scores.html").exists()


def test_maps_of_another_tool_that_are_not_in_the_table_are_not_needed(tmp_path):
    folder, other, store = tmp_path / "run", tmp_path / "daam", tmp_path / "store.npy"
    write_sample(folder / "000-ball", 0)
    (other / "000-ball").mkdir(parents=True)
    np.save(store, np.zeros((LATENT, 2, 2)))
    (other / "000-ball/jumps.npy").symlink_to(store)
    main(["run", str(folder), "--maps", "imap_layers", "--other", f"daam={other}"])
    assert "daam" in entries_of(folder)[1].scores, "a link belongs to the folder that it is in"
    (other / "000-ball/jumps.npy").unlink()
    main(["run", str(folder), "--maps", "imap_layers"])
    assert list(entries_of(folder)[1].scores) == ["GramCol"]


def test_the_truth_of_the_mean_curve_is_a_mean_over_clips():
    def entry(sample, onset):
        moving = np.arange(LATENT) >= onset
        return Entry(sample, "", "jumps", "motion", {}, {}, {}, moving, np.zeros((1, 1, 1), np.uint8), {})

    both = means_of([entry("a", 3), entry("b", 2)], "motion").moving
    twice = means_of([entry("a", 3), entry("a", 3), entry("b", 2)], "motion").moving
    np.testing.assert_allclose(twice, both)


def test_a_map_without_scores_is_refused_with_those_there_are(run):
    with pytest.raises(ImapError, match="no scores of 'other'; there are sel_imap_layers"):
        entries_of(run, ["other"])


def test_a_run_of_nouns_alone_has_a_page(tmp_path):
    write_sample(tmp_path / "run/000-ball", 0)
    write_truth(
        tmp_path / "run/000-ball" / TRUTH,
        Truth(["ball"], [""], np.ones((1, FRAMES, 32, 32), bool), np.zeros((1, FRAMES), bool)),
    )
    score_runs([tmp_path / "run"])
    main(["report", str(tmp_path / "run")])
    assert {path.stem for path in (tmp_path / "run/scores").iterdir()} == {"precision_recall_concept", "films"}


def test_maps_of_another_tool_may_be_links_and_may_go_when_the_table_has_none(tmp_path):
    run, stored = tmp_path / "run", tmp_path / "stored.npy"
    write_sample(run / "000-ball", 0)
    (tmp_path / "daam/000-ball").mkdir(parents=True)
    np.save(stored, np.ones((LATENT, 2, 2)))
    (tmp_path / "daam/000-ball/jumps.npy").symlink_to(stored)
    main(["run", str(run), "--other", f"daam={tmp_path / 'daam'}"])
    assert "daam" in entries_of(run)[1].scores
    (tmp_path / "daam/000-ball/jumps.npy").unlink()
    with pytest.raises(ImapError, match="has changed since"):
        entries_of(run)
    main(["run", str(run)])
    assert "daam" not in entries_of(run)[1].scores


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.slow
def test_a_page_without_average_precision_opens(size, tmp_path, browser):
    """A motion that never happens has no score. One of 2 pixels, of a cell of 4x4, has regions and no cells."""
    run = tmp_path / "run"
    write_sample(run / "000-ball", 0)
    masks, moving = np.zeros((1, FRAMES, 32, 32), bool), np.zeros((1, FRAMES), bool)
    if size:
        masks[..., :size, :1], moving[:, 9:17] = True, True
    else:
        masks[..., 8:24, :16] = True
    write_truth(run / "000-ball" / TRUTH, Truth(["ball"], ["jumps"], masks, moving))
    score_runs([run])
    main(["report", str(run)])
    script = LISTED + "return [byId('kind').value, byId('metric').value, list('means').length]"
    kind, metric, rows = browser.look(run / "scores.html", (1280, 900), script, False)
    assert (kind, metric) == (("motion", "j_best") if size else ("concept", "ap")) and rows >= 2


def test_a_run_without_any_score_has_no_page(tmp_path):
    run = tmp_path / "run"
    write_sample(run / "000-ball", 0)
    masks = np.ones((1, FRAMES, 32, 32), bool)
    write_truth(run / "000-ball" / TRUTH, Truth(["box"], ["jumps"], masks, np.zeros((1, FRAMES), bool)))
    score_runs([run])
    with pytest.raises(SystemExit, match="no score of .* is defined"):
        main(["report", str(run)])


def test_a_film_is_the_map_in_a_few_frames_on_one_scale():
    x = np.arange(13 * 30 * 45, dtype=np.float32).reshape(13, 30, 45)
    shown = film(x)
    assert shown.shape == (7, 15, 23) and shown.dtype == np.uint8  # cells of two by two
    assert shown[0, 0, 0] == 0 and shown[-1, -1, -1] == 255
    middle = x[6, :2, :2].mean() / x.max() * 255
    assert abs(float(shown[3, 0, 0]) - middle) <= 1
    assert (film(np.full((3, 4, 4), 7.0)) == 0).all()


def test_films_of_a_sample_are_one_picture_in_the_order_of_the_page(run):
    picture = Image.open(run / "scores/films/000-ball.png")
    shared = json.loads(re.search("const SHARED = (.*);\n", (run / "scores.html").read_text(encoding="utf-8"))[1])
    ball, jumps = [entry for entry in shared["entries"] if entry["sample"] == "000-ball"]
    places = [*ball["films"].values(), *jumps["films"].values()]
    assert places == list(range(len(places))) and picture.size == (7 * 8, len(places) * 8)
    indices = np.asarray(picture).reshape(len(places), 8, 7, 8).swapaxes(1, 2)
    truth = np.zeros((7, 8, 8), np.uint8)
    truth[3:5, 2:6, :4] = 255
    np.testing.assert_array_equal(indices[jumps["films"][""]], truth)
    np.testing.assert_array_equal(indices[jumps["films"]["uniform"]], 0 * truth)
    expected = film(np.load(run / "000-ball/npy/sel_imap_layers.npy")[1])
    np.testing.assert_array_equal(indices[jumps["films"]["IMAP"]], expected)
