"""Tables of scores: means and intervals over clips, differences word by word, and their formats."""

import csv
import io

import numpy as np
import pytest

from imap import ImapError
from imap.evaluation.__main__ import main
from imap.evaluation.scores import interval
from imap.evaluation.table_formats import formatted
from imap.evaluation.tables import (
    COLUMNS,
    Score,
    by_clip,
    by_word,
    chosen,
    joined,
    published,
    read_scores,
    row_names,
    table,
)

IMAP, GRAMCOL = "sel_imap_layers", "imap_layers"
VALUES = {  # by map and clip: values of the words of the clip
    IMAP: {"a": [0.2, 0.6], "b": [0.9], "c": [0.5]},
    GRAMCOL: {"a": [0.1], "b": [0.7], "d": [0.3], "c": [float("nan")]},
}


def lines(run="run"):
    for key, clips in VALUES.items():
        for clip, values in clips.items():
            for i, value in enumerate(values):
                yield Score(run, clip, f"word {i}", "motion", key, "ap", value)
    yield Score(run, "a", "ball", "concept", GRAMCOL, "auc", 0.75)


def write(folder, scores, name="scores.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows([(x.sample, x.word, x.kind, x.map, x.metric, x.value) for x in scores])
    return folder


def test_words_are_averaged_in_a_clip_and_clips_with_an_interval():
    one = table(list(lines()), "motion")
    assert one.rows == ["IMAP", "GramCol"] and one.metrics == ["ap"]
    assert one.cells["IMAP", "ap"] == (interval([0.4, 0.9, 0.5]), 3)
    assert one.cells["IMAP", "ap"][0][0] == pytest.approx(0.6)
    assert one.cells["GramCol", "ap"] == (interval([0.1, 0.7, 0.3]), 3)  # not the clip whose score is not defined
    ((mean, low, high), clips) = table(list(lines()), "concept").cells["GramCol", "auc"]
    assert (mean, clips) == (0.75, 1) and np.isnan([low, high]).all(), "a single clip has no interval"


def test_differences_are_of_the_words_that_both_have():
    one = table(list(lines()), "motion", less=GRAMCOL)
    assert one.rows == ["IMAP"]
    (mean, low, high), clips = one.cells["IMAP", "ap"]
    expected = ((0.2 - 0.1) + (0.9 - 0.7)) / 2  # not 0.6, of the second word of clip a
    assert clips == 2 and mean == pytest.approx(expected) and 0.1 - 1e-9 <= low <= mean <= high <= 0.2 + 1e-9
    assert table(list(lines()), "motion", less="GramCol").cells == one.cells
    with pytest.raises(ImapError, match="no row 'nothing' to compare with; there are IMAP, GramCol"):
        table(list(lines()), "motion", less="nothing")


def test_rows_of_several_runs_name_their_run(tmp_path):
    for run in ("x/one", "y/one"):
        write(tmp_path / run, lines())
    scores = read_scores([tmp_path / "x/one", tmp_path / "y/one"])
    assert set(row_names(scores).values()) >= {"x/one: IMAP", "y/one: GramCol"}
    one = table(scores, "motion", less="x/one: GramCol")
    assert one.cells["y/one: GramCol", "ap"][0] == (0, 0, 0)
    assert chosen(one, None, ["IMAP"]).rows == ["x/one: IMAP", "y/one: IMAP"]


def test_all_draws_of_random_heads_are_one_row():
    values = {"random_heads_1_layers": 0.2, "random_heads_2_layers": 0.6, "random_heads_1": 0.9}
    values |= {"random_heads_1_after_layers": 0.1}  # of the finished video
    scores = [Score("r", "a", "w", "motion", key, "ap", value) for key, value in values.items()]
    one = table(scores, "motion")
    assert one.rows == ["random heads", "random heads, all layers", "random heads (read after)"]
    assert one.cells["random heads", "ap"][0][0] == pytest.approx(0.4)


def test_baselines_have_readable_names():
    keys = ("centre_prior", f"shuffled_{IMAP}", "mine_of_a_kind")
    scores = [Score("r", "a", "w", "motion", key, "ap", 0.5) for key in keys]
    assert table(scores, "motion").rows == ["centre prior", "another word's IMAP", "mine_of_a_kind"]
    assert chosen(table(scores, "motion"), None, ["centre_prior", f"shuffled_{IMAP}"]).rows[1] == "another word's IMAP"
    assert table(scores, "motion", less="centre_prior").rows == ["another word's IMAP", "mine_of_a_kind"]


def test_all_files_of_a_run_are_read(tmp_path):
    folder = write(tmp_path / "run", lines())
    write(folder, [Score("", "a", "jumps", "motion", IMAP, "mls", 0.5)], "judge.csv")
    assert {score.metric for score in read_scores([folder])} == {"ap", "auc", "mls"}
    assert {score.metric for score in read_scores([folder / "judge.csv"])} == {"mls"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "has columns a, b; expected sample, word, kind, map, metric, value; give the output_dir"),
        (
            ",".join(COLUMNS) + "\na,b,c,d,e,x\n",
            r"is no table of scores \(could not convert .*\); make it again, or give the output_dir",
        ),
        (",".join(COLUMNS) + "\na,b\n", "is no table of scores"),
        ("", "has columns none; expected sample"),
    ],
)
def test_other_files_are_refused(tmp_path, text, said):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ImapError, match=said):
        read_scores([tmp_path])


def test_paths_without_scores_are_refused_with_what_to_give(tmp_path):
    expected = r"the output_dir of a scored run, or one of its files scores.csv, judge.csv, segment.csv; imap score run"
    with pytest.raises(ImapError, match=f"empty has no scores; give {expected}"):
        read_scores([write(tmp_path / "empty", [], "other.csv")])
    with pytest.raises(SystemExit, match=f"imap: error: there is no .*missing; give {expected}"):
        main(["table", str(write(tmp_path / "run", lines())), str(tmp_path / "missing")])


def test_a_format_holds_every_number():
    one = table([*lines(), Score("run", "a", "w", "motion", "100 % of_it", "ap", 0.125)], "motion")
    markdown = formatted(one, "markdown").splitlines()
    assert markdown[:2] == ["| map | ap |", "| --- | --: |"] and markdown[2].startswith("| IMAP | 0.600 [0.4")
    latex = formatted(one, "latex")
    assert r"100 \% of\_it & 0.125 \\" in latex and latex.count(r"\\") == 4 and r"\toprule" in latex
    rows = list(csv.DictReader(io.StringIO(formatted(one, "csv"))))
    assert [row["clips"] for row in rows] == ["3", "3", "1"] and float(rows[0]["mean"]) == pytest.approx(0.6)
    text = formatted(one, "text").splitlines()
    assert text[0].split() == ["map", "ap"] and len({len(line) for line in text}) == 1
    assert "+0.150" in formatted(table(list(lines()), "motion", less=GRAMCOL), "text", signed=True)


def test_published_values_are_marked_and_have_no_interval():
    one = joined(table([Score("r", "a", "w", "motion", IMAP, "mls", 0.5)], "motion"), published(["mls"]))
    text = formatted(one, "text")
    assert "published, CogVideoX-5B: IMAP " in text and one.cells["published, HunyuanVideo: IMAP", "mls"][0][0] == 0.55
    assert text.splitlines()[-1].split()[-1] == "0.550" and "nan" not in text


def test_the_command_prints_and_writes(tmp_path, capsys):
    folder = write(tmp_path / "run", lines())
    main(["table", str(folder), "--metrics", "ap", "--maps", f"{GRAMCOL},IMAP"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["map", "GramCol", "IMAP"]
    main(["table", str(folder), "--format", "csv", "--output", str(tmp_path / "deep/table.csv")])
    assert (tmp_path / "deep/table.csv").read_text().startswith("map,metric,mean,low,high,clips\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "iou"], "no metric 'iou'; there are ap"),
        (["--maps", "nothing"], "no row 'nothing'; there are IMAP, GramCol"),
        (["--less", GRAMCOL, "--published"], "--published has no differences"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, options, said):
    folder = write(tmp_path / "run", lines())
    with pytest.raises(SystemExit, match=f"imap: error: {said}"):
        main(["table", str(folder), *options])


def test_by_clip_leaves_out_what_is_not_defined():
    assert by_clip(by_word(lines(), "motion")["GramCol", "ap"]) == {"a": 0.1, "b": 0.7, "d": 0.3}
