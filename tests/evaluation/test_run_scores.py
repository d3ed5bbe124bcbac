"""imap score run: from planted maps and truth to a table with the numbers of a computation by hand."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from imap.errors import ImapError
from imap.evaluation import run_scores, sample_scores
from imap.evaluation.__main__ import main
from imap.evaluation.long_form import COLUMNS
from imap.evaluation.other_maps import OtherMaps, read_other_map
from imap.evaluation.run_scores import score_runs
from imap.map_files import TRUTH
from imap.media.truth import Truth, write_truth
from imap.saliency import Maps

SIZE = (5, 8, 8)  # video; maps are (2, 2, 2), so a cell is 4x4 pixels and the second latent frame covers four frames
BALL = [[[4, 1], [3, 2]], [[8, 5], [7, 6]]]
ROLLS = [[[0, 2], [1, 0]], [[2, 9], [0, 1]]]


def write_sample(folder, scale=1.0, truth=True, texts=("ball", "rolls", "grass"), facts=None):
    """A ball in the cell at the top left, then at the top right, where it rolls; a dog below it, at rest."""
    rows = np.array([BALL, ROLLS, np.zeros((2, 2, 2))], np.float32)[: len(texts)] * scale
    maps = Maps({"imap_layers": rows, "flat": 0 * rows}, texts, frozenset({"rolls"} & set(texts)), facts=facts or {})
    frames = np.zeros((*SIZE, 3), np.uint8)
    maps.save(folder, video=np.repeat(np.repeat(frames, 4, 1), 4, 2))
    if truth:
        write_truth(folder / TRUTH, planted_truth(4))
    return folder


def planted_truth(times: int = 1) -> Truth:
    masks = np.zeros((2, *SIZE), bool)
    masks[0, :1, :4, :4] = masks[0, 1:, :4, 4:] = masks[1, :, 4:, :4] = True
    moving = np.zeros((2, 5), bool)
    moving[0, 1:] = True
    return Truth(["ball", "dog"], ["rolls", ""], masks.repeat(times, 2).repeat(times, 3), moving)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    for index, scale in enumerate((1.0, -1.0)):
        write_sample(folder / f"00{index}-ball", scale)
    write_sample(folder / "002-plain", truth=False)
    return folder


@pytest.fixture
def run(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run", symlinks=True)


def rows_of(run) -> list[dict[str, str]]:
    with (run / "scores.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(run, sample="000-ball", word="ball", name="imap_layers") -> dict[str, float]:
    return {
        row["metric"]: float(row["value"])
        for row in rows_of(run)
        if (row["sample"], row["word"], row["map"]) == (sample, word, name)
    }


def test_the_table_holds_the_numbers_of_a_computation_by_hand(run, capsys):
    main(["run", str(run)])
    assert capsys.readouterr().out.strip() == str(run / "scores.csv")
    rows = rows_of(run)
    assert tuple(rows[0]) == COLUMNS
    assert {(row["word"], row["kind"]) for row in rows} == {("ball", "concept"), ("rolls", "motion")}, (
        "no truth of grass"
    )
    assert {row["sample"] for row in rows} == {"000-ball", "001-ball"}
    assert {row["map"] for row in rows} == {"imap_layers", "flat"}
    ball = values(run)
    # cells by value: 8 7 6 5* 4* 3 2 1; shifted by 1, the true ones hold 4 + 3 of 28
    assert ball["ap"] == pytest.approx((1 / 4 + 2 / 5) / 2, abs=1e-6)
    assert ball["auc"] == pytest.approx((3 + 3) / 12)
    assert ball["ap_frame"] == pytest.approx((1 + 1 / 4) / 2)
    assert ball["auc_frame"] == pytest.approx((1 + 0) / 2)
    assert ball["mass"] == pytest.approx(7 / 28)
    assert ball["pointing"] == 0.5
    rolls = values(run, word="rolls")
    assert rolls["ap"] == rolls["auc"] == rolls["in_object_auc"] == rolls["temporal_auc"] == 1
    assert rolls["mass"] == pytest.approx(9 / 15)
    assert rolls["temporal_correlation"] == 1
    assert np.isnan(rolls["specificity"]), "the dog is at rest, but is no ball"
    assert values(run, "001-ball", "rolls")["auc"] == 0


def test_pixels_are_scored_in_every_frame(run):
    score_runs([run])
    flat = values(run, word="rolls", name="flat")
    assert flat["j_best"] == flat["f_otsu"] == pytest.approx(1 / 5), "a flat map finds nothing; one frame has no motion"
    assert values(run, name="flat")["jf_mean"] == 0
    # Otsu's threshold is 9: a quarter of the cell's pixels keep this value when the map is enlarged
    assert values(run, word="rolls")["j_otsu"] == pytest.approx((1 + 4 / 4) / 5)


def test_samples_without_truth_are_named_and_a_run_without_any_is_refused(run, capsys):
    score_runs([run])
    assert capsys.readouterr().err.strip() == f"{run}: no truth of 1 samples, which get no scores: 002-plain"
    for sample in run.glob("00*"):
        (sample / TRUTH).unlink(missing_ok=True)
    with pytest.raises(ImapError, match=r"no sample of .*run has a truth.*truth-<clip>.npz.*imap score prepare"):
        score_runs([run])


def test_slow_libraries_are_not_imported():
    code = "import sys, imap.evaluation.run_scores; print({'torch', 'scipy.stats', 'matplotlib'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


def test_unchanged_samples_are_not_scored_again(run, monkeypatch):
    scored = []
    score = sample_scores.sample_scores

    def noted(folder, names, others):
        scored.append((folder.name, list(names)))
        return score(folder, names, others)

    monkeypatch.setattr(sample_scores, "sample_scores", noted)
    score_runs([run], ["flat"])
    assert scored == [("000-ball", ["flat"]), ("001-ball", ["flat"])]
    scored.clear()
    score_runs([run])
    assert scored == [("000-ball", ["imap_layers"]), ("001-ball", ["imap_layers"])]
    table = rows_of(run)
    scored.clear()
    score_runs([run])
    assert scored == [] and rows_of(run) == table
    write_sample(run / "001-ball", -1.0)
    score_runs([run])
    assert scored == [("001-ball", ["imap_layers", "flat"])] and rows_of(run) == table
    scored.clear()
    monkeypatch.setattr(sample_scores, "VERSION", -1)
    score_runs([run])
    assert [name for name, _ in scored] == ["000-ball", "001-ball"]


def test_scores_that_cannot_be_read_are_made_again(run):
    score_runs([run])
    table = rows_of(run)
    for text in ("{", "[]", json.dumps({"fingerprint": 1})):
        (run / ".scores" / "000-ball.json").write_text(text)
        score_runs([run])
        assert rows_of(run) == table


def test_a_table_holds_the_maps_that_are_named(run):
    score_runs([run])
    main(["run", str(run), "--maps", "flat,"])
    assert {row["map"] for row in rows_of(run)} == {"flat"}


def test_a_damaged_sample_does_not_stop_the_others(run):
    array = np.load(run / "000-ball" / "npy" / "flat.npy")
    array[0, 0, 0, 0] = np.nan
    np.save(run / "000-ball" / "npy" / "flat.npy", array)
    with pytest.raises(ImapError, match="1 of 2 samples cannot be scored.*000-ball; the first: the maps 'flat' have"):
        score_runs([run])
    assert {row["sample"] for row in rows_of(run)} == {"001-ball"}
    write_truth(run / "000-ball" / TRUTH, Truth(["ball"], [""], np.ones((1, 6, 32, 32), bool), np.zeros((1, 6), bool)))
    with pytest.raises(ImapError, match="the video has 6 frames, which do not fit maps of 2 latent frames"):
        score_runs([run])


def test_samples_that_cannot_be_read_are_named(run):
    (run / "001-ball" / "meta.json").write_text("{")
    with pytest.raises(ImapError, match=r"meta.json of 1 samples of .*run cannot be read: 001-ball; remove"):
        score_runs([run])


def test_samples_whose_truth_has_none_of_their_words_are_named(run, capsys):
    truth = planted_truth(4)
    write_truth(run / "001-ball" / TRUTH, Truth(["cat", "dog"], ["runs", ""], truth.masks, truth.moving))
    score_runs([run])
    assert capsys.readouterr().err.splitlines()[1:] == [f"{run}: the truth has no word of 1 samples: 001-ball"]
    assert {row["sample"] for row in rows_of(run)} == {"000-ball"}


def test_masks_of_another_size_than_the_video_are_refused(run):
    write_truth(run / "001-ball" / TRUTH, planted_truth(2))
    with pytest.raises(ImapError, match=r"mp4 is \(5, 32, 32\), and its masks \(5, 16, 16\)"):
        score_runs([run], baselines=True)
    write_sample(run / "001-ball", facts={"pixels": [32, 32]})
    score_runs([run])
    write_truth(run / "001-ball" / TRUTH, planted_truth(2))
    with pytest.raises(ImapError, match=r"has masks of \(5, 16, 16\), and the video is \(32, 32\)"):
        score_runs([run])


def test_wrong_arguments_are_refused_before_anything_is_scored(run, capsys):
    for arguments, said in [
        (["--maps", "imap"], "no sample has maps 'imap'; there are imap_layers, flat"),
        (["--maps", ","], "--maps names no map"),
        (["--workers", "0"], "--workers=0 is not a number of processes"),
    ]:
        with pytest.raises(SystemExit, match=said):
            main(["run", str(run), *arguments])
    with pytest.raises(ImapError, match="one sample's folder; give the output_dir of its run"):
        score_runs([run / "000-ball"])
    with pytest.raises(ImapError, match="there is no folder"):
        score_runs([run / "absent"])
    assert not (run / ".scores").exists() and not (run / "scores.csv").exists()


def test_baselines_are_scored_beside_the_maps(run):
    score_runs([run], ["imap_layers"], baselines=True)
    names = list(dict.fromkeys(row["map"] for row in rows_of(run)))
    assert names == ["imap_layers", "uniform", "centre_prior", "frame_difference", "shuffled_imap_layers"]
    assert values(run, name="uniform")["ap"] == values(run, name="uniform")["mass"] == 2 / 8
    assert values(run, name="frame_difference")["ap"] == 2 / 8, "the video is black"
    assert values(run, name="centre_prior")["auc"] == 0.5, "all four cells are as near to the centre"
    # of another word of the same kind: that of grass, which is flat; of the only motion word, that of the next word
    assert values(run, name="shuffled_imap_layers")["auc"] == 0.5
    assert values(run, word="rolls", name="shuffled_imap_layers")["auc"] == 0.5
    write_sample(run / "000-ball", texts=("ball", "rolls"))
    score_runs([run], ["imap_layers"], baselines=True)
    assert values(run, name="shuffled_imap_layers")["ap"] == (1 + 2 / 8) / 2, "the map of rolls"


def test_agreement_with_the_effect_is_scored_where_it_was_read(run):
    np.save(run / "000-ball" / "npy" / "effect.npy", np.load(run / "000-ball" / "npy" / "imap_layers.npy"))
    meta = json.loads((run / "000-ball" / "meta.json").read_text())
    (run / "000-ball" / "meta.json").write_text(json.dumps({**meta, "keys": [*meta["keys"], "effect"]}))
    score_runs([run], ["imap_layers"])
    assert values(run)["effect_rank"] == pytest.approx(1)
    shutil.rmtree(run / ".scores")
    score_runs([run])
    assert np.isnan(values(run, name="flat")["effect_rank"])
    effect = values(run, name="effect")  # the same values as another map
    assert effect["ap"] == values(run)["ap"] and "effect_rank" not in effect
    assert "effect_rank" not in values(run, "001-ball")


def test_a_single_word_has_no_other_to_shuffle_with(run):
    write_sample(run / "000-ball", texts=("ball",))
    score_runs([run], baselines=True)
    shuffled = {row["sample"] for row in rows_of(run) if row["map"].startswith("shuffled_")}
    assert shuffled == {"001-ball"}


def test_without_a_video_there_is_no_difference_of_frames(run):
    meta = json.loads((run / "000-ball" / "meta.json").read_text())
    (run / "000-ball" / "output.mp4").unlink()
    (run / "000-ball" / "meta.json").write_text(json.dumps({name: x for name, x in meta.items() if name != "fps"}))
    score_runs([run], baselines=True)
    found = {(row["sample"], row["map"]) for row in rows_of(run)}
    assert ("000-ball", "centre_prior") in found and ("001-ball", "frame_difference") in found
    assert ("000-ball", "frame_difference") not in found


def other_tool(folder, arrays) -> str:
    """Write maps of another tool, and return its argument."""
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.asarray(array))
    return f"daam={folder}"


def test_maps_of_another_tool_are_scored_in_the_same_cells(run, tmp_path, capsys):
    pixels = np.zeros(SIZE)  # one value in the first latent frame, the mean of four in the second
    pixels[0, :4, :4], pixels[1:, :4, 4:], pixels[1, 4:, 4:] = 4, 7, 4 * 8.5
    arrays = {"000-ball/ball": pixels, "000-ball/rolls": np.array(ROLLS, np.int64), "001-ball/ball": BALL}
    argument = other_tool(tmp_path / "daam", arrays)
    main(["run", str(run), "--maps", "imap_layers", "--other", argument])
    said = capsys.readouterr().err
    assert f"{tmp_path / 'daam'}: words without a map: 1, in 001-ball; the means of 'daam' are over fewer" in said
    # cells [[4, 0], [0, 0]], [[0, 7], [0, 8.5]]; the ball is the 4 and the 7, the dog is not the 8.5
    ap = ((1 / 2) + (2 / 3)) / 2
    assert values(run, name="daam")["ap"] == pytest.approx(ap)
    assert values(run, name="daam", sample="001-ball") == values(run)
    own, daam = (values(run, word="rolls", name=name) for name in ("imap_layers", "daam"))
    assert own == pytest.approx(daam, nan_ok=True) and len(own) == 19
    main(["table", str(run), "--kind", "concept", "--maps", "daam", "--metrics", "ap", "--format", "csv"])
    assert "daam" in capsys.readouterr().out


def test_maps_of_another_tool_that_changed_are_scored_again(run, tmp_path):
    folder = tmp_path / "daam"
    argument = other_tool(folder, {f"{name}/ball": BALL for name in ("000-ball", "001-ball")})
    main(["run", str(run), "--other", argument])
    before = {name: (run / ".scores" / f"{name}.json").stat().st_mtime_ns for name in ("000-ball", "001-ball")}
    other_tool(folder, {"000-ball/ball": np.negative(BALL)})
    main(["run", str(run), "--maps", "flat"])
    assert "daam" not in {row["map"] for row in rows_of(run)}
    assert before == {name: (run / ".scores" / f"{name}.json").stat().st_mtime_ns for name in before}
    main(["run", str(run), "--other", argument])
    assert values(run, name="daam") == values(run, "001-ball")  # of the negative maps
    assert before["001-ball"] == (run / ".scores" / "001-ball.json").stat().st_mtime_ns


def test_removed_maps_of_another_tool_are_named_as_missing(run, tmp_path, capsys):
    names = [f"{sample}/{word}" for sample in ("000-ball", "001-ball") for word in ("ball", "rolls")]
    argument = other_tool(tmp_path / "daam", dict.fromkeys(names, BALL))
    main(["run", str(run), "--maps", "imap_layers", "--other", argument])
    assert "without a map" not in capsys.readouterr().err
    shutil.rmtree(tmp_path / "daam/001-ball")
    main(["run", str(run), "--maps", "imap_layers", "--other", argument])
    assert "words without a map: 2, in 001-ball" in capsys.readouterr().err


def test_files_of_other_keys_are_not_opened(run):
    (run / "000-ball/npy/flat.npy").write_bytes(b"")
    score_runs([run], ["imap_layers"])
    assert "ap" in values(run)


@pytest.mark.parametrize(
    ("argument", "array", "message"),
    [
        ("daam", None, "is not NAME=FOLDER"),
        ("=x", None, "is not NAME=FOLDER"),
        ("daam=nowhere", None, "there is no folder nowhere"),
        ("uniform=.", None, "the name of a baseline"),
        ("centre prior=.", None, "the name of a baseline"),
        ("random_heads_mine=.", None, "the name of a baseline"),
        ("gramcol=.", None, "tables would mix the two"),
        ("sel_imap_layers=.", None, "'sel_imap_layers' is the name of a map of imap"),
        ("flat", BALL, "the name 'flat' of other maps is taken"),
        ("daam", np.zeros((3, 2, 2)), "(3, 2, 2); expected numbers (frames, height, width), with 2 latent frames or 5"),
        ("daam", np.zeros((2, 2)), "expected numbers"),
        ("daam", np.full((2, 2, 2), np.nan), "has values that are NaN"),
        ("daam", np.array([["a"]]), "expected numbers"),
        ("daam", np.multiply(BALL, 1e300), "values from 1e+300 to 8e+300, which are equal in float32"),
        ("daam", np.multiply(BALL, 1e-300), "which are equal in float32; scale them"),
    ],
)
def test_faulty_maps_of_another_tool_are_refused(argument, array, message, run, tmp_path, capsys):
    if array is not None:
        other_tool(tmp_path / "other", {"000-ball/ball": array})
        argument = f"{argument}={tmp_path / 'other'}"
    with pytest.raises(SystemExit, match=r"imap: error") as error:
        main(["run", str(run), "--other", argument])
    assert message in str(error.value)


def test_an_archive_of_arrays_is_no_map(run, tmp_path):
    argument = other_tool(tmp_path / "daam", {"000-ball/ball": BALL})
    with (tmp_path / "daam/000-ball/ball.npy").open("wb") as file:
        np.savez(file, BALL)
    with pytest.raises(ImapError, match="is an archive of arrays"):
        score_runs([run], others=[OtherMaps.of(argument)])


def test_a_word_too_long_for_a_file_name_has_no_map_of_another_tool(tmp_path):
    (tmp_path / "000-ball").mkdir()
    assert read_other_map(OtherMaps("daam", tmp_path), "000-ball", "w" * 300, (2, 2, 2), 5) is None


def test_scores_that_another_command_replaced_are_missed_aloud(run, monkeypatch):
    def replaced_meanwhile(job):
        assert sample_scores.score(job) is None
        kept = json.loads(job.kept.read_text())
        del kept["maps"]["flat"]
        job.kept.write_text(json.dumps(kept))

    monkeypatch.setattr(run_scores, "score", replaced_meanwhile)
    with pytest.raises(ImapError, match=r"2 of 2 samples .* changed meanwhile; run the same command again"):
        score_runs([run], workers=1)
    monkeypatch.undo()
    score_runs([run])
    assert {row["map"] for row in rows_of(run)} == {"imap_layers", "flat"}


def test_other_maps_of_no_sample_are_refused(run, tmp_path):
    with pytest.raises(ImapError, match="has maps of no sample; expected"):
        score_runs([run], others=[OtherMaps("daam", tmp_path)])


def test_several_runs_each_get_a_table(run, tmp_path, capsys):
    other = shutil.copytree(run, tmp_path / "other")
    assert score_runs([run, other, run]) == [run / "scores.csv", other / "scores.csv"]
    assert capsys.readouterr().err.count("no truth of") == 2, "a run that is named twice is scored once"
    assert (other / "scores.csv").read_bytes() == (run / "scores.csv").read_bytes()


@pytest.mark.slow
def test_several_processes_write_the_same_table(run, monkeypatch):
    for index in range(4):
        write_sample(run / f"01{index}-ball", 1 + index)
    score_runs([run], workers=1)
    table = (run / "scores.csv").read_bytes()
    shutil.rmtree(run / ".scores")
    monkeypatch.setattr(run_scores, "WORTHWHILE", 0)
    score_runs([run], workers=2)
    assert (run / "scores.csv").read_bytes() == table


@pytest.mark.slow
def test_a_process_that_is_killed_gives_one_line(run, monkeypatch):
    monkeypatch.setattr(run_scores, "_ignore_interrupts", os.abort)
    with pytest.raises(ImapError, match="ended from outside.*again with fewer --workers"):
        list(run_scores._in_processes(run_scores.jobs_of(run, None, False), 2))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_what_is_finished_and_the_same_command_continues(run, workers):
    for index in range(60):
        shutil.copytree(run / "000-ball", run / f"1{index:02}-ball")
    slow = (
        "import time; from imap.evaluation import run_scores as r, sample_scores as s; r.WORTHWHILE = 0; o = r.score\n"
    )
    slow += (
        "def late(job):\n    time.sleep(0.1); return s.score(job)\n"  # in one process, as functions of -c do not travel
    )
    slow += "r.score = late\n" if workers == 1 else ""
    code = slow + f"from imap.cli.main import main; main(['score', 'run', {str(run)!r}, '--workers', '{workers}'])"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(list((run / ".scores").glob("*.json"))) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "interrupted; run the same command again to continue" in said, said
    assert "Traceback" not in said
    kept = {path: path.stat().st_mtime_ns for path in (run / ".scores").glob("*.json")}
    assert 3 <= len(kept) < 62 and not (run / "scores.csv").exists()
    score_runs([run], workers=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len({row["sample"] for row in rows_of(run)}) == 62
