"""dry_run: what would be done and what it takes, and nothing but plan.json is written. run.json: how a run began."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

import imap.runs.forecast
import imap.runs.runner
from imap.config.model import model_settings
from imap.map_files import sizes_of
from imap.runs.failures import ERRORS
from imap.runs.folders import RUN
from imap.runs.forecast import PLAN
from imap.runs.listing import LIST
from imap.runs.run_record import git_state
from imap.runs.weights import weights_of
from imap.testing import tiny
from tests.runs.test_runner import command, listed, loads, moving_square, no_load  # noqa: F401
from tests.shared import FAMILIES, composed

QUICK = ["num_frames=5", "num_inference_steps=2"]
WORDS = ["prompt=A red ball rolls past a dog.", "concepts=ball, dog", "motions=rolls"]


def planned(folder: Path) -> dict:
    return json.loads((folder / "out" / PLAN).read_text(encoding="utf-8"))


PASSES = [
    (["guidance_scale=5"], False),
    (["guidance_scale=1", "effect=[1]", "maps_timesteps=[1,2]"], False),
    (["effect=true"], False),
    (["imap_layer=auto", "guidance_scale=5"], False),
    (["read=after", "read_timestep=[0,1]", "effect=true"], False),
    (["read=both", "read_timestep=[1]"], False),
    (["renoise_timestep=[0,1]", "effect=true"], True),
    (["renoise_timestep=[0,1]", "imap_layer=auto"], True),
    (["renoise_timestep=[1]", "num_inference_steps=4", "test_full_denoise=true", "guidance_scale=5"], True),
]


@pytest.mark.parametrize(
    ("family", "settings", "renoising"),
    [*(("wan", *case) for case in PASSES), *((x, *PASSES[n]) for x in ("cogvideox", "hunyuanvideo") for n in (0, 6))],
)
def test_passes_and_map_files_are_those_of_the_run(family, settings, renoising, command, loads, pipes, tmp_path):  # noqa: F811
    """Rows of all transformer calls are counted, and bytes of all npy files."""
    clip = [f"video_path={moving_square(tmp_path / 'clip.mp4', 5, 32, 48)}"] if renoising else []
    name = "renoising" if renoising else "sampling"
    request = [f"backbone=tiny_{family}", *WORDS, *QUICK, *clip, "fps=8", *settings]
    command(name, *request, "dry_run=true")
    assert not loads
    record, rows = planned(tmp_path), []
    handle = pipes(family).transformer.register_forward_pre_hook(
        lambda module, args, call: rows.append(len(call["hidden_states"])), with_kwargs=True
    )
    with handle:
        assert command(name, *request)[0] == 0
    assert record["forward_passes"]["all"] == sum(rows)
    (folder,) = (tmp_path / "out").glob("000-*")
    arrays = sum(size for path, size in sizes_of(folder).items() if path.startswith("npy/"))
    assert record["disk"]["maps"] == arrays
    assert record["forward_passes"]["concept_steps"] == (0 if family == "wan" else len(set(record_steps(folder))))


def record_steps(folder: Path) -> list[str]:
    """Steps that were read, those of both readings apart."""
    meta = json.loads((folder / "meta.json").read_text())
    after = meta["read"]["renoise_timestep"] if meta.get("read", {}).get("when") == "both" else []
    return [*map(str, meta["steps"]), *(f"after {step}" for step in after)]


def test_every_problem_is_named_with_its_place_and_only_plan_json_is_written(command, no_load, tmp_path):  # noqa: F811
    good = moving_square(tmp_path / "good.mp4", 5, 32, 48)
    short = moving_square(tmp_path / "short.mp4", 3, 32, 48)
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(good.read_bytes()[:100])
    clips = [good, torn, good, short, tmp_path / "none.mp4"]
    request = [listed(tmp_path, *(f"a ball {i}" for i in range(5)), clips=clips), *QUICK, "renoise_timestep=0"]
    status, said = command("renoising", *request, "dry_run=true", "shard.count=2")
    record = planned(tmp_path)
    assert status == 1 and [path.name for path in (tmp_path / "out").iterdir()] == [PLAN]
    assert record["samples"] == {"listed": 5, "to_do": 2, "finished": 0, "failing": 3}
    assert [(x["entry"], x["sample"]) for x in record["problems"]] == [(i, f"00{i}-a-ball-{i}") for i in (1, 3, 4)]
    assert "3 frames" in record["problems"][1]["reason"] and "entry 3, 003-a-ball-3: " in said
    assert record["to_do"] == ["000-a-ball-0", "002-a-ball-2"] and record["forward_passes"]["all"] == 2


def test_nothing_can_run_and_the_forecast_says_why(command, no_load, tmp_path):  # noqa: F811
    """A list of one as well, which a run would refuse with its own error."""
    status, _ = command(
        "renoising", *WORDS, f"video_path={tmp_path / 'none.mp4'}", "renoise_timestep=0", "dry_run=true"
    )
    assert status == 1 and planned(tmp_path)["samples"]["to_do"] == 0
    assert not (tmp_path / "out" / ERRORS).exists()


def test_all_faulty_entries_of_a_list_are_named(command, no_load, tmp_path):  # noqa: F811
    (tmp_path / "list.json").write_text(json.dumps([{"caption": "", "concepts": "ball"}] * 9))
    status, _ = command("sampling", f"input_json={tmp_path / 'list.json'}", "dry_run=true")
    assert "entry 8: the prompt is empty" in status and " more" not in status
    status, _ = command("sampling", f"input_json={tmp_path / 'list.json'}")
    assert "entry 4" in status and "entry 5" not in status and "and 4 more" in status


def test_time_and_videos_are_those_of_finished_samples_like_these(command, loads, tmp_path):  # noqa: F811
    out, request = tmp_path / "out", listed(tmp_path, *(f"a ball {i}" for i in range(7)))
    command("sampling", request, *QUICK, "dry_run=true")
    assert planned(tmp_path)["time"]["seconds"] is None and planned(tmp_path)["disk"]["measured_samples"] == 0
    assert command("sampling", "prompt=a ball 0", "concepts=ball, dog", "motions=rolls", *QUICK)[0] == 0
    (sample,) = out.glob("000-*")
    meta = json.loads((sample / "meta.json").read_text())
    meta["seconds"] = {"denoise": 3.0, "decode": 1.0}
    (sample / "meta.json").write_text(json.dumps(meta))
    others = sum((sample / name).stat().st_size for name in ("output.mp4", "meta.json"))
    command("sampling", request, *QUICK, "dry_run=true", "shard.count=4")
    record = planned(tmp_path)
    assert record["samples"]["finished"] == 1 and record["samples"]["to_do"] == 6
    assert record["time"] == {"processes": 4, "seconds_per_sample": 4.0, "seconds": 8.0, "measured_samples": 1}
    memory, disk = record["memory"], record["disk"]
    assert memory["needed"] == sum(memory["weights"].values()) + memory["maps"] and memory["maps"] > 0  # on a CPU
    assert disk["videos_and_records"] == 6 * others and disk["pictures"] == 0
    assert disk["needed"] == disk["maps"] + 6 * others
    elsewhere = tmp_path / "elsewhere"
    command("sampling", request, *QUICK, f"output_dir={elsewhere}", "dry_run=true", "devices=[cpu,cpu]")
    assert json.loads((elsewhere / PLAN).read_text())["time"]["seconds"] == 16.0  # 4 of 7 for each of 2
    command("sampling", request, *QUICK, "num_inference_steps=1", "dry_run=true")
    assert planned(tmp_path)["time"]["seconds"] is None


def test_a_disk_that_does_not_suffice_gets_a_warning(command, no_load, tmp_path, monkeypatch):  # noqa: F811
    usage = imap.runs.forecast.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(imap.runs.forecast.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    status, said = command("sampling", *WORDS, *QUICK, "dry_run=true")
    assert status == 0 and "the disk does not suffice" in said and planned(tmp_path)["disk"]["free"] == 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_known_from_their_files(family: str, pipes):
    """Some layers stay in float32 whatever the dtype is, so float32 is exact."""
    config = composed("sampling", f"backbone=tiny_{family}", "backbone.dtype=float32")
    model = model_settings(config["backbone"])
    parts = {name: x for name, x in pipes(family).components.items() if isinstance(x, torch.nn.Module)}
    loaded = {name: sum(4 * p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert weights_of(model, str(tiny.folder(family))) == loaded


def test_weights_that_are_not_downloaded_are_not_known(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = model_settings(composed("sampling", "backbone=tiny_wan")["backbone"])
    assert weights_of(model, "nobody/has-this") is None


def test_run_json_is_written_before_weights_are_loaded(command, tmp_path, monkeypatch):  # noqa: F811
    found = []

    def load(model, source):
        found.append(json.loads((tmp_path / "out" / RUN).read_text()))
        raise RuntimeError("no weights")

    monkeypatch.setattr(imap.runs.runner, "load", load)
    with pytest.raises(RuntimeError, match="no weights"):
        command("sampling", *WORDS, *QUICK, "seed=11")
    (record,) = found
    assert record["config"]["seed"] == 11 and record["config"]["backbone"]["name"] == "tiny_cogvideox"
    assert record["device"]["device"] == "cpu" and record["versions"]["torch"] == torch.__version__
    assert "`seed`" in record["seed_rule"] and record["started"].endswith("+00:00")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {RUN, LIST}


def test_a_run_with_nothing_to_do_leaves_the_record_of_the_run_that_made_the_samples(command, loads, tmp_path):  # noqa: F811
    command("sampling", *WORDS, *QUICK)
    before = (tmp_path / "out" / RUN).stat().st_mtime_ns
    command("sampling", *WORDS, *QUICK, "max_failures=3")
    assert (tmp_path / "out" / RUN).stat().st_mtime_ns == before


def test_git_state_is_that_of_the_package_alone(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert git_state(package) is None
    git("init", "-q")
    (tmp_path / "other.py").write_text("")
    git("add", "other.py")
    git("commit", "-qm", "other")
    assert git_state(package) is None  # installed inside another project
    git("add", "package")
    git("commit", "-qm", "package")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert git_state(package) == {"commit": commit, "dirty": False}
    (package / "__init__.py").write_text("changed = True")
    assert git_state(package) == {"commit": commit, "dirty": True}
