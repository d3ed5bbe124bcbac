"""The benchmark scores every map; maps without knowledge score at chance; splits are frozen."""

import csv
import dataclasses
import json
import sys

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

import imap
from imap import ImapError
from imap.config.presets import config_folder
from imap.shapes.benchmark.records import RecordFile
from imap.shapes.benchmark.run import benchmark
from imap.shapes.benchmark.scoring import Reading, Record, score_baselines, score_model
from imap.shapes.benchmark.tables import difference, gates, markdown, summary, write_records
from imap.shapes.models import RECIPES
from imap.shapes.render import main
from imap.shapes.world.render import render
from imap.shapes.world.scenes import Conditions, scenes
from imap.shapes.world.split import SPLITS

CLIP = (9, 32, 32)
SLOWER = [family for family in RECIPES if family != "cogvideox"]
SETTINGS = {"num_inference_steps": 4, "renoise_timestep": [2], "imap_layer": [0, 1], "maps_layers": [0, 2]}


def flat(scored):
    return [record for _, records in scored for record in records]


def test_splits_are_frozen_and_disjoint():
    drawn = {name: split.scenes() for name, split in SPLITS.items()}
    assert {name: len(clips) for name, clips in drawn.items()} == {"dev-2": 40, "plain-2": 60, "hard-2": 60}
    assert len({scene for clips in drawn.values() for scene in clips}) == 160
    assert any(scene.texture_seed is not None for scene in drawn["hard-2"]) and any(s.pan for s in drawn["hard-2"])


def test_a_split_with_other_scenes_is_refused():
    with pytest.raises(ImapError, match=r"split plain-2 should have hash .* and has"):
        dataclasses.replace(SPLITS["plain-2"], seed=1).scenes()


@pytest.mark.parametrize("family", ["cogvideox", *(pytest.param(x, marks=pytest.mark.slow) for x in SLOWER)])
def test_every_map_of_a_model_is_scored_for_every_word(family):
    shown = list(scenes(0, 3))
    records = flat(score_model(RECIPES[family].build(0), shown, Reading(CLIP, 2, SETTINGS)))
    rows = ["cross attention", "text attention", "ConceptAttention", "GramCol", "IMAP", "whole-video column"]
    rows += ["effect", "effect, word dropped"]
    rows += ["GramCol, consensus surrogate", "IMAP, consensus surrogate", "oracle surrogate"]
    if family == "wan":
        rows.remove("ConceptAttention")
    assert {record.row for record in records} == set(rows)
    words = sum(len(s.concepts) + sum(t.verb != "stays" for t in s.things) for s in shown)
    assert len(records) == (len(rows) + 2) * words * 2  # two more: shares of both surrogates on the object
    assert {record.noise for record in records} == {0, 1}
    again = flat(score_model(RECIPES[family].build(0), shown[:1], Reading(CLIP, 2, SETTINGS)))
    values = [[x for r in part for x in r.scores.values()] for part in (records, again)]
    assert values[1] == pytest.approx(values[0][: len(values[1])], nan_ok=True)


def test_maps_without_knowledge_score_at_chance():
    shown = SPLITS["plain-2"].scenes()[:12]
    records = flat(score_baselines(shown, Reading((25, 32, 32), 1, {}), (8, 8)))
    nouns, verbs = summary(records, "noun"), summary(records, "verb")
    share = nouns["uniform"]["ap"][0]  # of true cells
    assert 0.02 < share < 0.12 and nouns["random"]["ap"][0] == pytest.approx(share, abs=0.04)
    assert nouns["uniform"]["auc"][0] == 0.5 and nouns["random"]["own_other"][0] == pytest.approx(0.5, abs=0.1)
    assert verbs["random"]["in_object"][0] == pytest.approx(0.5, abs=0.1)
    assert verbs["object in all frames"]["in_object"][0] == 0.5 and verbs["object in all frames"]["own_other"][0] == 1
    # an object at the top of its jump does not change
    assert verbs["frame difference"]["in_object"][0] > 0.6 and verbs["frame difference"]["correlation"][0] > 0.3
    assert "frame difference" not in nouns
    by_verb = {verb: summary([x for x in records if x.word == verb], "verb") for verb in ("jumps", "dips", "grows")}
    heights = {verb: rows["height in the picture"]["in_object"][0] for verb, rows in by_verb.items()}
    assert heights["jumps"] > 0.95 and heights["dips"] < 0.05 and 0.4 < heights["grows"] < 0.6


def record(row, clip, word, value, kind="noun", noise=0):
    return Record(row, clip, kind, word, noise, {"ap": value})


def test_every_clip_has_the_same_weight(tmp_path):
    records = [record("a", 0, "ball", 0.2), record("a", 0, "box", 0.4), record("a", 0, "box", 0.6, noise=1)]
    records += [record("a", 1, "kite", 0.8), record("a", 2, "kite", float("nan")), record("b", 0, "ball", 0.1)]
    scored = summary(records, "noun")
    assert scored["a"]["ap"][0] == pytest.approx((0.4 + 0.8) / 2)
    assert scored["a"]["ap"][1:] == pytest.approx((0.4, 0.8))
    assert list(scored) == ["a", "b"] and summary(records, "verb") == {}
    table = markdown(scored, "noun").splitlines()
    assert table[2] == "| a | .60 [.40, .80] | - | - | - | - |" and len(table) == 4
    write_records(records, tmp_path / "r.csv")
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert len(rows) == 6 and rows[2]["noise"] == "1" and float(rows[3]["value"]) == 0.8


def records_of(kind, score, **rows):
    """Records of rows: values of the clips, or one value for three clips."""
    return [
        Record(row.replace("__", ", ").replace("_", " "), clip, kind, "word", 0, {score: value})
        for row, values in rows.items()
        for clip, value in enumerate(values if isinstance(values, list) else [values] * 3)
    ]


def test_gates_use_the_best_map_of_the_trained_model():
    records = [
        *records_of("noun", "ap", random=0.99, cross_attention=0.91, GramCol=0.6, GramCol__consensus_surrogate=0.75),
        *records_of("noun", "ap", GramCol__untrained=0.98, IMAP__untrained=0.9, oracle_surrogate=0.995),
        *records_of("noun", "own_other", random=0.99, cross_attention=0.6, GramCol=0.89, GramCol__untrained=0.98),
        *records_of("verb", "ap", frame_difference=0.9, cross_attention=0.1, ConceptAttention=0.3, GramCol=0.2),
        *records_of("verb", "in_object", frame_difference=0.9, cross_attention=0.8, GramCol=0.5, IMAP=0.69),
    ]
    assert [line.split(" | ")[1:] for line in gates(records).splitlines()[2:]] == [
        [".900", ".910", "cross attention |"],
        [".700", ".750", "GramCol, consensus surrogate |"],
        [".900", ".890, not met", "GramCol |"],
        [".700", ".690, not met", "IMAP |"],
        [".400", ".300, not met", "ConceptAttention |"],
        ["above 0, beyond chance", "-.11 [-.11, -.11], not met", "IMAP |"],
        ["within .050", "-.01 [-.01, -.01]", "GramCol, untrained |"],
        ["within .050", "-.09 [-.09, -.09], not met", "IMAP, untrained |"],
    ]


@pytest.mark.parametrize(
    ("cross", "gramcol", "expected"),
    [
        ([0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6], ".20 [.20, .20] | GramCol"),
        (
            [0.3, 0.3, 0.3, 0.3],
            [0.4, 0.4, 0.4, 0.4],
            ".10 [.10, .10], not met",
        ),  # at chance
        ([0.5, 0.8, 0.5, 0.8], [0.6, 0.9, 0.6, 0.9], ".10 [.10, .10]"),  # clip by clip, although clips differ
        ([0.4, 0.4, 0.8, 0.8], [0.9, 0.9, 0.5, 0.5], ".10 [-.30, .50], not met"),
    ],
)
def test_a_map_is_better_if_its_gain_clip_by_clip_is_above_zero_and_chance(cross, gramcol, expected):
    table = gates(records_of("verb", "in_object", cross_attention=cross, GramCol=gramcol))
    (line,) = (x for x in table.splitlines() if "less cross" in x)
    assert expected in line and ("not met" in line) == ("not met" in expected)


def test_a_difference_uses_only_clips_of_both_rows():
    nan = float("nan")
    records = records_of("noun", "ap", a=[0.5, 0.9, nan], b=[0.4, nan, 0.9])
    assert difference(records, "noun", "ap", "a", "b") == pytest.approx(
        (0.1, nan, nan), nan_ok=True
    )  # a single clip has no interval


@pytest.mark.parametrize("sweep", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_the_benchmark_writes_tables_records_and_settings(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "clips=2"])
    folder, renoise = tmp_path / "model", imap.renoise
    RECIPES["cogvideox"].build(0).save_pretrained(folder)
    size = zip(("num_frames", "height", "width"), (9, 48, 48), strict=True)
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose(
            "shapes_benchmark",
            [
                "backbone=shapes_cogvideox",
                f"backbone.path={folder}",
                "backbone.device=cpu",
                f"output_dir={tmp_path / 'out'}",
                "clips=2",
                "noises=1",
                f"sweep={sweep}",
                "num_inference_steps=4",
                "renoise_timestep=[2]",
                *(f"backbone.paper.{name}={value}" for name, value in size),
            ],
        )
    config.card = True
    with pytest.raises(
        ImapError, match="card=true writes the gates of rendered clips with sweep=false into .*README.md"
    ):
        benchmark(config)
    config.card = not sweep
    (folder / "README.md").write_text("# A model\n\n## Settings\n")
    benchmark(config)
    text = (tmp_path / "out/table.md").read_text()
    card = (folder / "README.md").read_text()
    assert sweep or ("2 clips of plain-2, 1 noises" in card and text.split("## Gates\n\n")[1].strip() in card)
    rows = (
        ["cross attention, layer 3", "IMAP, step 1"]
        if sweep
        else ["random", "GramCol, untrained", "| IMAP |", "## Gates"]
    )
    assert all(row in text for row in rows) and "`python -m imap.shapes.benchmark clips=2`" in text
    scores = json.loads((tmp_path / "out/summary.json").read_text())
    names = ("table.md", "records.csv")
    before = [(tmp_path / f"out/{name}").read_bytes() for name in names]
    record_file = tmp_path / "out/records.jsonl"
    record_file.write_text("\n".join(record_file.read_text().splitlines()[:-1]) + "\n")
    config.backbone.device = "auto"  # does not change results
    read = []
    monkeypatch.setattr(imap, "renoise", lambda *args, **kwargs: read.append(1) or renoise(*args, **kwargs))
    benchmark(config)
    assert len(read) == 2  # both surrogates of the clip whose line was lost
    assert [(tmp_path / f"out/{name}").read_bytes() for name in names] == before
    other = RECIPES["cogvideox"].build(1)
    other.save_pretrained(folder)
    monkeypatch.setattr(imap, "renoise", lambda *_, **__: pytest.fail("read again"))
    with pytest.raises(pytest.fail.Exception, match="read again"):
        benchmark(config)
    assert scores["title"] == text.splitlines()[0].removeprefix("# ") and "split plain-2" in scores["title"]
    assert scores["settings"]["split"] == "plain-2" and np.isfinite(next(iter(scores["noun"].values()))["ap"]).all()


def test_records_resume_after_a_stop_only_with_the_same_settings(tmp_path, caplog):
    path = tmp_path / "records.jsonl"
    caplog.set_level("INFO")
    first = RecordFile(path, {"a": (1, 2)})
    first.add("model", 1, [record("b", 1, "ball", 0.5)])
    first.add("model", 0, [record("b", 0, "ball", float("nan")), record("b", 0, "box", 0.25)])
    with path.open("a") as file:
        file.write('{"part": "model", "clip": 2, "rec')  # stopped during the write
    again = RecordFile(path, {"a": [1, 2]})
    assert again.done("model") == {0, 1} and again.done("baselines") == set()
    assert "continuing after 2 finished clips" in caplog.text
    again.add("model", 2, [record("b", 2, "kite", 0.75)])
    words = [(x.clip, x.word) for x in RecordFile(path, {"a": [1, 2]}).records]
    assert words == [(0, "ball"), (0, "box"), (1, "ball"), (2, "kite")]
    assert RecordFile(path, {"a": [1, 3]}).records == [] and "has other settings; it is replaced" in caplog.text


def test_finished_clips_are_not_scored_again():
    shown, reading = SPLITS["plain-2"].scenes()[:5], Reading((9, 32, 32), 2, {})
    whole = dict(score_baselines(shown, reading, (4, 4)))
    rest = dict(score_baselines(shown, reading, (4, 4), skip={0, 3}))
    assert sorted(rest) == [1, 2, 4]
    for clip, records in rest.items():
        values = [[list(x.scores.values()) for x in part] for part in (records, whole[clip])]
        np.testing.assert_array_equal(*values)


def test_an_unknown_split_is_refused_before_weights_are_loaded():
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("shapes_benchmark", ["split=plain", "backbone.path=null"])
    with pytest.raises(ImapError, match="unknown split 'plain'; known are dev-2, plain-2, hard-2"):
        benchmark(config)


@pytest.mark.slow
def test_renoising_reads_the_list_of_rendered_clips(tmp_path, monkeypatch, capsys):
    from imap.config.sample_lists import read_list
    from imap.media.clips import read_clip
    from imap.shapes.world.drawing import draw

    path = render(tmp_path / "a", 3, (9, 32, 48), 8, 5, Conditions())
    samples, shown = read_list(path, with_video=True), list(scenes(5, 3))
    assert [sample.prompt for sample in samples] == [scene.caption for scene in shown]
    assert [sample.motions for sample in samples] == [scene.motions for scene in shown]
    drawn = draw(shown, 9, 32, 48)
    for index, sample in enumerate(samples):
        clip = read_clip(sample.video_path)
        assert clip.shape == (9, 32, 48, 3)
        assert np.abs(clip.astype(float) - drawn.frames[index].numpy()).mean() < 8
        truth = np.load(sample.video_path.with_name(f"truth-{sample.video_path.stem}.npz"))
        assert np.array_equal(truth["masks"], drawn.masks[index]) and truth["verbs"].tolist() == [
            thing.verb for thing in shown[index].things
        ]
    monkeypatch.setattr(sys, "argv", ["render", str(tmp_path / "b"), "--count", "1", "--height", "32", "--width", "32"])
    main()
    assert "imap renoise input_json=" in capsys.readouterr().out and (tmp_path / "b/clips.json").is_file()
