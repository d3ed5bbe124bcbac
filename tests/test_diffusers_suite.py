"""What the comparison of diffusers' tests, untraced and traced, calls a fault. Logs are written by hand."""

import json

import diffusers
import pytest
import torch

from benchmarks.diffusers_suite import calls
from benchmarks.diffusers_suite.__main__ import files_of
from benchmarks.diffusers_suite.compare import Log, faults, read_log, table
from imap.backbones import FAMILIES
from tests.shared import PROMPT, SIZES

CALL = {"pipeline": "WanPipeline", "outcome": "untraced", "output": "aa", "random": "bb", "hooks_left": 0}
REFUSED = {"outcome": "refused", "error": "cannot trace this WanPipeline: it has no tokenizer, and more; load it"}


def log(test="passed", **call):
    return Log({"t": test}, {("t", 1): {**CALL, **call}})


@pytest.mark.parametrize(
    ("traced", "said"),
    [
        (log("failed"), "t: passed untraced, failed traced"),
        (log(output="cc"), "another output"),
        (log(random="cc"), "another random"),
        (log(raised="TypeError"), "another raised"),
        (log(hooks_left=2), "2 hooks left"),
        (log(finite=False), "not finite"),
        (Log({"t": "passed"}, {}), "in one run only"),
        (Log({}, log().calls), "not run traced"),
    ],
)
def test_every_change_is_a_fault(traced, said):
    assert said in " ".join(faults(log(), traced))


def test_a_refused_call_is_counted_with_its_reason_and_is_no_fault():
    traced = log(**REFUSED)
    assert list(faults(log(), traced)) == []
    assert "1  WanPipeline: it has no tokenizer, and more" in table(log(), traced)


def test_a_logged_call_has_the_same_output_traced_and_refused(pipes, tmp_path, monkeypatch):
    pipe, path = pipes("wan"), tmp_path / "log.jsonl"
    monkeypatch.setattr(calls, "LOG", str(path))
    call = calls.logged(type(pipe).__call__)
    arguments = {"prompt": PROMPT, **SIZES, "num_inference_steps": 1, "output_type": "latent"}
    for is_traced, videos in ((False, 1), (True, 1), (True, 2), (False, 2)):
        monkeypatch.setattr(calls, "TRACED", is_traced)
        call(pipe, **arguments, num_videos_per_prompt=videos, generator=torch.manual_seed(0))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["outcome"] for record in records] == ["untraced", "traced", "refused", "untraced"]
    assert records[0]["output"] == records[1]["output"] != records[2]["output"] == records[3]["output"]
    assert records[1]["finite"] and records[1]["hooks_left"] == 0


def test_an_output_that_is_not_there_is_no_part_of_the_hash():
    video = torch.arange(3.0)
    assert calls.digest((video, None)) == calls.digest((video,)) != calls.digest((video, 0))


def test_a_failed_teardown_fails_the_test(tmp_path):
    rows = [{"kind": "test", "test": "t", "outcome": outcome} for outcome in ("passed", "failed", "passed")]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, rows)))
    assert read_log(tmp_path / "log").tests == {"t": "failed"}


def test_the_tests_of_every_family_are_found(tmp_path):
    for name in ("wan/test_wan.py", "wan/test_wan_vace.py", "ltx/test_ltx.py", "ltx/utils.py", "flux/test_flux.py"):
        path = tmp_path / "tests/pipelines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    every = ["ltx/test_ltx.py", "wan/test_wan.py", "wan/test_wan_vace.py"]
    assert files_of(tmp_path, ()) == [f"tests/pipelines/{name}" for name in every]
    assert files_of(tmp_path, ["wan/test_wan_vace.py"]) == ["tests/pipelines/wan/test_wan_vace.py"]
    with pytest.raises(SystemExit, match="no tests in .*sana"):
        files_of(tmp_path, ["sana"])


def test_pipelines_of_every_family_are_logged():
    logged = {pipeline.__name__ for pipeline in calls.pipelines()}
    assert {adapter.pipeline_class for adapter in FAMILIES if hasattr(diffusers, adapter.pipeline_class)} <= logged
    assert {"WanVACEPipeline", "CogVideoXImageToVideoPipeline", "HunyuanVideoFramepackPipeline"} <= logged
