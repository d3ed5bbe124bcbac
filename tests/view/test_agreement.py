"""The table of agreement over samples, and a finished sample that shows another map."""

import csv
import json

import numpy as np
import pytest

from imap import Maps
from imap.map_files import set_shown
from imap.view.__main__ import main
from imap.view.agreement import write_agreement
from imap.view.card import card
from imap.view.sample import open_sample


def sample(folder, ap):
    rng = np.random.default_rng(0)
    scores = {"rank": 0.5, "ap": ap, "rank_space": 0.1, "ap_space": 0.2, "rank_time": None, "ap_time": None}
    facts = {"method": {"show": "published"}, "faithfulness": {"ball": {"imap_layers": scores}} if ap else {}}
    return Maps({"imap_layers": rng.normal(size=(1, 2, 4, 5))}, ("ball",), facts=facts).save(folder)


def test_means_over_samples_are_listed_and_all_scores_written(tmp_path):
    samples = [sample(tmp_path / "a", 0.25), sample(tmp_path / "b", 0.75), sample(tmp_path / "c", None)]
    lines = write_agreement(samples, tmp_path / "faithfulness.csv")
    assert lines is not None and lines.splitlines()[1].split()[:3] == ["imap_layers", "0.50", "0.50"]
    rows = list(csv.DictReader((tmp_path / "faithfulness.csv").open()))
    assert [(row["sample"], row["word"], row["ap"], row["rank_time"]) for row in rows] == [
        ("a", "ball", "0.25", ""),
        ("b", "ball", "0.75", ""),
    ]


def test_without_an_effect_there_is_no_table(tmp_path):
    assert write_agreement([sample(tmp_path / "a", None)], tmp_path / "faithfulness.csv") is None
    assert not (tmp_path / "faithfulness.csv").exists()


def test_a_card_holds_the_agreement_of_every_word(tmp_path):
    data = card(open_sample(sample(tmp_path / "a", 0.25)), 100, ["imap_layers"])
    assert data["agreements"] == {"imap_layers": [[0.5, 0.25, None]]}
    assert card(open_sample(sample(tmp_path / "b", None)), 100, ["imap_layers"])["agreements"] == {}


@pytest.mark.parametrize("show", ["published", "video_col"])
def test_a_finished_sample_shows_another_map_and_loses_nothing(tmp_path, show):
    folder = sample(tmp_path / "a", 0.25)
    before = json.loads((folder / "meta.json").read_text())
    assert set_shown(folder, show, "published") == (show != "published")
    after = json.loads((folder / "meta.json").read_text())
    assert after["method"]["show"] == show
    assert {**after, "method": before["method"]} == before
    assert {x.name for x in folder.iterdir()} == {"npy", "meta.json"}


def test_a_table_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    folder, table = sample(tmp_path / "a", 0.25), tmp_path / "faithfulness.csv"
    write_agreement([folder], table)
    before = table.read_bytes()
    monkeypatch.setattr("imap.view.agreement.csv.writer", None)
    with pytest.raises(TypeError):
        write_agreement([folder], table)
    assert before and table.read_bytes() == before and sorted(x.name for x in tmp_path.iterdir()) == ["a", table.name]


def test_pictures_are_drawn_again_beside_the_table_of_a_single_sample(tmp_path):
    folder = sample(tmp_path / "a", 0.25)
    for options in (["--no-pictures"], []):
        with pytest.raises(SystemExit) as ended:
            main([str(folder), *options])
        assert ended.value.code == 0
    assert (folder / "view/faithfulness.csv").is_file() and (folder / "view/strip.png").is_file()
