"""Every benchmark at a small size: its rows and limits. The committed rows are valid, and the documentation agrees."""

import gc
import json
import math
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import batching, clip, cluster, growth, kills, lambda_2, memory, models, overhead, parts, record
from benchmarks.picture_part import agreement, labels
from imap.config.presets import presets
from imap.media.video_io import write_video
from imap.testing.planted import planted
from tests.shared import FAMILIES, SIZES

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """Speed up garbage collections, which imageio starts whenever it opens or closes a file."""
    gc.freeze()
    yield
    gc.unfreeze()


def paper(family):
    return presets()[f"tiny_{family}"].paper


def strict(line):
    """A line as strict JSON, without NaN."""
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def written(rows, folder):
    """Rows that were written to a file and read again."""
    record.write(rows, folder / "rows.jsonl")
    return [strict(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def spend(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_functions_take_turns_and_every_other_round_runs_backwards():
    order = []
    times = record.in_turn([lambda n=n: order.append(n) for n in range(3)], 3, CPU)
    assert order == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]
    assert [len(rounds) for rounds in times] == [3, 3, 3]  # the first round is a warm-up


def test_seconds_on_a_cpu_are_those_of_this_process():
    assert record.seconds(lambda: time.sleep(0.3), CPU) < 0.1
    assert 0.1 <= record.seconds(lambda: spend(0.1), CPU) < 0.2


@pytest.mark.parametrize(("n", "skipped"), [(3, 0), (5, 0), (8, 0), (9, 1), (12, 2), (25, 7)])
def test_the_interval_of_the_median_follows_the_binomial_distribution(n, skipped):
    values = np.random.default_rng(0).permutation(n).astype(float)
    assert record.interval(values) == (skipped, n - 1 - skipped)


def test_intervals_enclose_the_median_of_noise_as_often_as_stated():
    draws = np.random.default_rng(0).exponential(size=(2000, 9))
    enclosed = [low <= math.log(2) <= high for low, high in map(record.interval, draws)]
    assert 0.94 < np.mean(enclosed) < 0.98  # 0.961 by the binomial


def test_a_limit_is_met_if_the_whole_interval_is_within_it():
    assert record.judged([1.01, 1.04, 1.02], 1.05)["met"] is True
    assert record.judged([1.01, 1.06, 1.02], 1.05)["met"] is False
    assert record.judged([9.0], None)["met"] is None
    assert record.judged([0.07 - 0.05], 0.02)["met"] is True  # in floats slightly more


def test_values_that_json_lacks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        record.write([{"ratio": float("nan")}], tmp_path / "rows.jsonl")


@pytest.mark.parametrize("family", FAMILIES)
def test_overhead_has_a_row_for_each_trace(family, pipes, tmp_path):
    names = list(overhead.ROWS) if family == "cogvideox" else ["5 concepts", "prompt"]
    rows = written(overhead.measure(pipes(family), paper(family), SIZES, names, 1.0, 1, CPU), tmp_path)
    assert [row["trace"] for row in rows] == names
    for row in rows:
        assert row["tokens"] == 3 * 2 * 3 and {name: row[name] for name in SIZES} == SIZES
        assert row["untraced_s"] > 0 and row["traced_s"] > 0 and 0.3 < row["low"] <= row["ratio"] <= row["high"] < 100
        assert row["limit"] is row["met"] is None  # limits hold for the paper's grid
        every = presets()[f"tiny_{family}"].num_layers
        read = len(paper(family)["imap_layer"]) if "alone" in row["trace"] else every
        assert row["layers"] == f"{read} of {every}"


@pytest.mark.slow
def test_a_slow_trace_misses_its_limit(pipes, monkeypatch):
    step = overhead.step

    def slow(*arguments):
        spend(0.1)
        return step(*arguments)

    monkeypatch.setattr(overhead, "step", slow)
    monkeypatch.setattr(overhead, "PAPER_TOKENS", 0)
    rows = overhead.measure(pipes("wan"), paper("wan"), SIZES, ["5 concepts", "prompt", "1 concept"], 1.0, 1, CPU)
    assert [(row["limit"], row["met"]) for row in rows] == [(1.05, False), (1.2, False), (None, None)]


def test_limits_depend_on_the_grid_and_the_device():
    grid, gpu = {"height": 480, "width": 720, "num_frames": 49}, torch.device("cuda")
    five, prompt = overhead.ROWS["5 concepts"], overhead.ROWS["prompt"]
    assert overhead.limit(five, grid, CPU) == 1.05 and overhead.limit(five, grid, gpu) == 1.03
    assert overhead.limit(prompt, grid, CPU) == 1.2 and overhead.limit(five, SIZES, CPU) is None


def test_rows_record_the_settings_for_freed_memory(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    plain = record.machine(CPU)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "4096")
    assert record.machine(CPU) == {**plain, "malloc_top_pad_": "4096"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can reset a peak")
@pytest.mark.slow
def test_memory_is_the_peak_that_a_call_adds():
    # in a new process: a process that has freed memory reuses it, and its peak does not rise
    code = """
        import torch
        from benchmarks.memory import held, peak

        cpu = torch.device("cpu")
        before = held(cpu)
        torch.ones(64 * 2**20, dtype=torch.uint8)  # freed at once
        print(peak(cpu) - before)
        before = held(cpu)
        print(peak(cpu) - before)  # the earlier peak is forgotten
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.run(
        run, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **record.FREE_AT_ONCE}
    )
    first, second = map(float, ended.stdout.split())
    assert 60 < first < 80 and second < 8


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can reset a peak")
@pytest.mark.slow
def test_each_peak_is_measured_in_a_new_process():
    size = ["--height=128", "--width=192", "--num-frames=9"]
    assert 0 < record.in_new_process("benchmarks.memory", "--model=tiny_wan", *size, "--one", 2, 2, 1) < 200
    result = record.in_new_process("benchmarks.lambda_2", "--one", 2048)
    assert 0.5 < result["lambda_2"] < 1 and 0 < result["mib"] < 16  # less than the attention matrix of a head


def test_exponents_of_lambda_2_are_fitted_to_all_sizes_of_each_round():
    def once(exponent):
        return [{"lambda_2": 0.9, "seconds": n**2 / 1e6, "mib": (n / 1e3) ** exponent} for n in (1000, 2000, 4000)]

    rows = lambda_2.rows([1000, 2000, 4000], [once(1), once(0.9), once(1.05)])
    assert [row["seconds"] for row in rows] == [1, 4, 16] and [row["mib"] for row in rows] == [1, 2, 4]
    assert [row["dense_mib"] for row in rows] == [3, 15, 61]
    assert all(row["exponent_of_time"] == 2 and row["exponent_of_memory"] == 1 for row in rows)
    assert all((row["low"], row["high"], row["met"]) == (0.9, 1.05, True) for row in rows)
    assert not lambda_2.rows([1000, 2000, 4000], [once(1), once(1), once(1.2)])[0]["met"]


def test_lambda_2_is_measured_once_per_size_and_round(monkeypatch):
    calls = []

    def measured(*arguments):
        calls.append(arguments[-1])
        return {"lambda_2": 1, "seconds": 1, "mib": arguments[-1]}

    monkeypatch.setattr(lambda_2, "in_new_process", measured)
    monkeypatch.setattr("sys.argv", ["lambda_2", "--tokens", "8", "16", "--repeats", "2"])
    lambda_2.main()
    assert calls == [8, 16, 8, 16]


def test_memory_limits_apply_to_the_worst_case_and_to_differences():
    assert memory.cases((1, 4, 16), (4, 16)) == [(1, 4), (4, 4), (16, 4), (1, 16)]
    assert memory.cases([1], [4]) == [(1, 4)]
    peaks = {
        (1, 4): [(100, 102), (100, 101.9), (100, 104)],
        (4, 4): [(100, 104.004), (100, 104.004), (200, 202)],
        (16, 4): [(100, 104), (100, 105), (100, 103.9)],  # just within the limit
        (1, 16): [(100, 105.5), (50, 51), (100, 104)],
    }
    rows = {case: memory.row(rounds) for case, rounds in peaks.items()}
    assert [row["met"] for row in rows.values()] == [True, True, True, False]
    medians = {"untraced_mib": 100, "traced_mib": 104.0, "more_mib": 4.0}  # of each column alone
    assert rows[4, 4] == {**medians, "more": 0.04, "low": 0.01, "high": 0.04, "limit": 0.05, "met": True}
    most, of_steps, of_layers = memory.requirements(peaks, CPU)
    assert (most["value"], most["low"], most["high"], most["met"]) == (0.04, 0.02, 0.055, False)
    # the limit applies to the unrounded 0.02004, though the row shows 0.02
    assert (of_steps["must"], of_steps["value"], of_steps["met"]) == ("difference over 1, 4, 16 steps", 0.02, False)
    assert (of_layers["must"], of_layers["value"], of_layers["met"]) == ("difference over 4, 16 layers", 0.02, True)
    assert of_steps["low"] is of_steps["high"] is None
    del peaks[1, 16]
    on_gpu = memory.requirements(peaks, torch.device("cuda"))
    assert [(row["high"], row["met"]) for row in on_gpu] == [(0.05, True), (None, False), (5, True)]
    assert len(memory.requirements({(1, 4): peaks[1, 4]}, CPU)) == 1  # a single case has no differences


@pytest.mark.slow
def test_growth_fits_an_exponent_to_sizes_in_turn(tmp_path, monkeypatch):
    rows = written(growth.measure("tokens", growth.sizes("tokens", [52, 104], 2), 2, CPU), tmp_path)
    assert [row["tokens"] for row in rows] == [52, 104] and rows[0]["from_the_last"] is None
    assert (
        rows[0]["limit"] == 1.1 and rows[0]["exponent_of_the_largest"] == rows[0]["exponent"]
    )  # there are only two sizes
    # an artificial cost, the square of the tokens
    monkeypatch.setattr(
        growth, "work", lambda attention, texts, config: spend(1e-6 * attention.o[0, :, :, 0].numel() ** 2)
    )
    rows = growth.measure("tokens", growth.sizes("tokens", [104, 208, 416], 2), 2, CPU)
    assert rows[0]["exponent"] == pytest.approx(2, abs=0.1) and rows[0]["met"] is False
    assert rows[1]["from_the_last"] == pytest.approx(2, abs=0.1)


def test_a_fixed_cost_flattens_growth_less_at_the_largest_sizes(monkeypatch):
    tokens = (52, 104, 208, 416, 832)
    monkeypatch.setattr(growth, "in_turn", lambda works, repeats, device: [[1e-3 + n * 1e-5] * repeats for n in tokens])
    (row, *_) = growth.measure("tokens", growth.sizes("tokens", tokens, 2), 2, CPU)
    assert row["exponent"] < row["exponent_of_the_largest"] - 0.1 < 1


def test_parts_agree_with_what_they_replace_and_are_compared_in_time(tmp_path):
    made = parts.parts(2, 12, 8, 2, CPU)
    assert tuple(made) == parts.PARTS
    replaced, ours = made[parts.CHI]
    np.testing.assert_allclose(ours().numpy(), replaced(), rtol=1e-4)
    replaced, ours = made[parts.GRAM_COLUMNS]
    torch.testing.assert_close(ours().transpose(0, 1), replaced(), rtol=1e-4, atol=1e-4)
    replaced, ours = made[parts.CONCEPT_TOKENS]
    torch.testing.assert_close(ours(), replaced()[0, :, :3], rtol=1e-4, atol=1e-4)
    row = parts.measure([lambda: spend(0.06), lambda: spend(0.02)], 2.5, 3, CPU)
    assert row["times_faster"] == pytest.approx(3, abs=0.2) and row["met"] is True
    assert parts.measure([lambda: spend(0.02), lambda: spend(0.02)], 2.5, 1, CPU)["met"] is False
    assert (row["replaced_s"], row["ours_s"]) == pytest.approx((0.06, 0.02), abs=0.005)
    for works in made.values():
        (row,) = written([parts.measure(works, None, 3, CPU)], tmp_path)
        assert 0 < row["low"] <= row["times_faster"] <= row["high"] and row["met"] is None
        (tmp_path / "rows.jsonl").unlink()


@pytest.mark.slow
def test_a_list_of_clips_takes_one_forward_each_and_every_stage_has_its_share(pipes, tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), np.uint8), 8)
    measured = clip.measure(pipes("hunyuanvideo"), paper("hunyuanvideo"), SIZES, path, 2, 1, CPU)
    rows = {row["stage"]: row for row in written(measured, tmp_path)}
    names = {"decode_clip", "encode_clip", "encode_text", "forward", "finish", "maps", "write", "other"}
    assert set(rows) == names | {"all"}
    assert all(row["forwards_per_clip"] == 1 and row["clips"] == 2 for row in rows.values())
    assert sum(rows[name]["share"] for name in names) == pytest.approx(1, abs=1e-3)
    assert all(rows[name]["seconds"] > 0 for name in ("decode_clip", "encode_clip", "encode_text", "forward", "write"))
    assert rows["all"]["clips_per_hour"] == pytest.approx(3600 / rows["all"]["seconds"], rel=0.01)


def test_a_clip_that_fails_ends_the_benchmark(pipes, tmp_path):
    with pytest.raises(RuntimeError, match="none.mp4"):
        clip.measure(pipes("wan"), paper("wan"), SIZES, tmp_path / "none.mp4", 1, 1, CPU)


@pytest.mark.parametrize(
    ("clips", "rule", "hours", "efficiency"),
    [
        ([10, 10, 10, 10], "parts", 25 / 3600, 40 / 50),  # each task loads for 5 s and makes two clips
        ([30, 10, 30, 10], "parts", 65 / 3600, 80 / 90),
        # the second task takes the third clip at 25 s; the first one waits for it from 35 s on
        ([30, 10, 30, 10], "claims", 55 / 3600, 80 / 110),
    ],
)
def test_a_simulated_list_takes_as_long_as_by_hand(clips, rule, hours, efficiency):
    found = cluster.simulate(clips, cluster.Cluster(2, 5, 0, 0), rule, random.Random(0))
    assert found == {
        "hours": pytest.approx(hours),
        "efficiency": pytest.approx(efficiency),
        "lost": 0,
        "preemptions": 0,
    }


def test_a_simulated_preemption_loses_its_clip_and_loads_again(monkeypatch):
    cuts = iter([12.0, math.inf])
    monkeypatch.setattr(cluster, "_preempted", lambda *_: next(cuts))
    found = cluster.simulate([10, 10], cluster.Cluster(1, 5, 1, 3), "claims", random.Random(0))
    # load 5, 7 s of the first clip are lost, 3 of delay, load 5, two clips
    assert found["hours"] == pytest.approx((5 + 7 + 3 + 5 + 20) / 3600)
    assert found["lost"] == pytest.approx(7 / 20) and found["efficiency"] == pytest.approx(20 / 37)


def test_a_waiting_task_takes_over_a_clip_when_it_is_cut_off(monkeypatch):
    cuts = iter([20.0, math.inf, math.inf])
    monkeypatch.setattr(cluster, "_preempted", lambda *_: next(cuts))
    found = cluster.simulate([30, 10], cluster.Cluster(2, 5, 1, 100), "claims", random.Random(0))
    # the first task is cut at 20 s; the second one waits from 15 s, and makes the clip until 50 s
    # the first one is back at 120 s, loads and finds nothing
    assert found["hours"] == pytest.approx(50 / 3600) and found["lost"] == pytest.approx(15 / 40)
    assert found["efficiency"] == pytest.approx(40 / (20 + 50 + 5)) and found["preemptions"] == 1


def test_a_batch_of_clips_gives_each_clip_its_own_prediction(pipes):
    pipe = pipes("wan")
    call = batching.call_of(pipe, SIZES)
    one, two = (batching.forward(pipe, call, batch)()[0] for batch in (1, 2))
    assert two.shape[0] == 2 * one.shape[0]
    torch.testing.assert_close(two[0], one[0], rtol=1e-4, atol=1e-5)


def test_clips_are_timed_on_one_thread_of_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["clip", "--clip", "none.mp4", "--device", "cpu", "--threads", "2"])
    monkeypatch.setattr(clip, "chosen_device", lambda options: pytest.fail("it continued"))
    with pytest.raises(SystemExit):
        clip.main()
    assert "--threads 2: expected 1 on a CPU" in capsys.readouterr().err


@pytest.mark.slow
def test_the_vae_of_a_full_size_wan_is_in_float32(monkeypatch):
    narrow = {"text_dim": 32, "attention_head_dim": 24, "num_attention_heads": 2, "num_layers": 1, "ffn_dim": 48}
    monkeypatch.setitem(models.FULL, "wan2_1_1_3b", ("wan", models.WanTransformer3DModel, narrow))
    pipe = models.build("wan2_1_1_3b", CPU, torch.bfloat16)
    assert (pipe.vae.dtype, pipe.transformer.patch_embedding.weight.dtype) == (torch.float32, torch.bfloat16)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_committed_rows_are_json(path):
    rows = [strict(line) for line in path.read_text().splitlines()]
    assert rows and all(isinstance(row, dict) for row in rows)


def test_every_number_of_the_documentation_with_an_interval_is_in_a_committed_row():
    text = (ROOT / "docs/performance.md").read_text()
    number = r"(-?\d+(?:\.\d+)?)"
    # 1.009 (0.981 to 1.018), and 1.8 % (1.6 to 2.1)
    shown = re.findall(rf"({number}( %)? \({number}(?: %)? to {number})", text)
    rows = [strict(line) for path in RESULTS.glob("*.jsonl") for line in path.read_text().splitlines()]
    # a median comes just before its interval
    committed = [list(row.values())[list(row).index("low") - 1 :][:3] for row in rows if "low" in row]
    committed = [numbers for numbers in committed if None not in numbers]

    def agree(texts, numbers, scale):
        places = [len(text.partition(".")[2]) for text in texts]
        return all(
            abs(float(text) - scale * x) <= 0.5 * 10**-n + 1e-9
            for text, x, n in zip(texts, numbers, places, strict=True)
        )

    assert shown
    for whole, median, percent, low, high in shown:
        assert any(agree([median, low, high], numbers, 100 if percent else 1) for numbers in committed), whole


def test_agreement_orders_rows_as_a_truth_that_it_follows():
    from benchmarks.agreement import order, table
    from imap.shapes.benchmark.scoring import Record

    rng = np.random.default_rng(0)

    def run(sign):
        records = []
        for row, level in (("GramCol", 0.2), ("IMAP", 0.4), ("cross attention", 0.6), ("effect, untrained", 0.9)):
            for number in range(20):
                truth = level + rng.normal(0, 0.05)
                scores = {"ap": truth, "agreement_ap": sign * level + rng.normal(0, 0.05)}
                records.append(Record(row, number, "noun", "ball", 0, scores))
        return records

    values = table([run(1), run(1)], "noun", "ap", "ap")
    assert values.shape == (2, 6, 20)  # random weights are left out
    value, low, high = order(values, 100)
    assert low <= value <= high and value > 0.8
    assert order(table([run(-1)], "noun", "ap", "ap"), 100)[0] == pytest.approx(-1)


def test_the_moment_of_a_kill_is_that_of_the_last_known_line(tmp_path):
    log = tmp_path / "log"
    for text, name in (
        ("", "imports"),
        ("loading a (cpu)\n", "loading"),
        ("[1/6] 000-a\n\r  0%|  | 0/1", "maps and writing"),
        ("[1/6] 000-a\n[1/6] out/000-a: 0.2 s\n", "between samples"),
        ("waiting for 1 that another process works on: a\n", "waiting"),
        ("[1/6] out/000-a: 0.2 s\rpictures:  17%|  1/6\r\nno installed font\n", "pictures"),
    ):
        log.write_text(text)
        assert kills.moment(log) == name


def test_files_that_differ_are_missing_or_are_left_over_are_found(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "meta.json").write_text(json.dumps({"seconds": name, "texts": []}))
        (tmp_path / name / "report.html").write_text(f'["write (s)","{len(name)}"],')
    wanted = kills.files_of(tmp_path / "one")
    assert not any(kills.compare(tmp_path / "two", wanted).values())
    (tmp_path / "two" / ".a.partial-1").mkdir()
    (tmp_path / "two" / ".b.lock").touch()
    (tmp_path / "two" / "report.html").write_text("other")
    (tmp_path / "two" / "a" / "meta.json").unlink()
    found = kills.compare(tmp_path / "two", wanted)
    assert found == {"different": ["report.html"], "missing": ["a/meta.json"], "left_over": [".b.lock", ".a.partial-1"]}


@pytest.mark.slow
def test_a_list_that_is_killed_a_few_times_is_that_of_an_undisturbed_run(tmp_path):
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "2", "--folder", str(tmp_path)]
    command += ["--json", str(tmp_path / "rows.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = (strict(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())
    assert row["kills"] >= 2 and row["met"] and row["files"] > 100
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == done.stdout  # from the records


def test_a_planted_map_is_found_from_the_text_alone_and_blurred_by_the_sum():
    parts = labels(planted().gramcol.argmax(dim=0))
    for kind, lowest in {"first_frame": 0.6, "alike": 0.9, "place": 0.7}.items():
        alone, both = (agreement(parts[kind], strength, torch.Generator().manual_seed(0)) for strength in (0.0, 1.0))
        assert alone == pytest.approx(1.0, abs=1e-5) and lowest < both < 0.96, kind
