"""Command lines of before the `imap` command still work: they write the same files as the new ones."""

import json
import logging
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

import imap.runs.runner
from imap.cli.main import main
from imap.figures import FIGURES
from imap.media.video_io import write_video
from tests.shared import composed

ROOT = Path(__file__).parents[2]
SMALL = ["height=32", "width=48", "num_frames=9", "num_inference_steps=1", "pictures=false"]
WORDS = ["prompt=A red ball rolls past a dog.", "concepts=ball, dog", "motions=rolls"]
FOLDER = "000-a-red-ball-rolls-past-a-dog"


@pytest.fixture
def run(pipes, monkeypatch: pytest.MonkeyPatch):
    """Runs a command line in this process: `imap ...`, a script, or `-m module ...`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(imap.runs.runner, "load", lambda model, source: pipes(model.family))

    def run_line(*line: str) -> None:
        program, *arguments = line
        status: Any = None
        try:
            if program == "imap":
                monkeypatch.setattr(sys, "argv", ["imap", *arguments])
                main(arguments)
            elif program == "-m":
                monkeypatch.setattr(sys, "argv", arguments)
                module = sys.modules.get(arguments[0])
                loaded = f"{arguments[0]}.__main__" if hasattr(module, "__path__") else arguments[0]
                monkeypatch.delitem(sys.modules, loaded, raising=False)  # runpy warns of a loaded module
                runpy.run_module(arguments[0], run_name="__main__")
            else:
                monkeypatch.setattr(sys, "argv", [program, *arguments])
                runpy.run_path(str(ROOT / program), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        assert not status, status

    yield run_line
    root.handlers[:], root.level = handlers, level


def files(folder: Path) -> dict[str, bytes | dict]:
    """Contents by name; of meta.json, everything except times, and of run.json, how the maps are made."""
    contents: dict[str, bytes | dict] = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "meta.json":
            record = json.loads(path.read_text(encoding="utf-8"))
            contents[str(path.relative_to(folder))] = {key: record[key] for key in record if key != "seconds"}
        elif path.name == "run.json":
            record = json.loads(path.read_text(encoding="utf-8"))
            contents[path.name] = {**record["config"], "output_dir": None}
        elif path.is_file():
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return contents


def same_files(one: Path, two: Path, count: int) -> None:
    first, second = files(one), files(two)
    assert len(first) >= count and list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of noise."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (9, 32, 48, 3), np.uint8), 8)
    return path


@pytest.mark.parametrize(
    ("script", "command"),
    [("main_Sampling.py", "sample"), pytest.param("main_Renoising.py", "renoise", marks=pytest.mark.slow)],
)
def test_the_scripts_write_what_the_command_writes(script: str, command: str, run, clip: Path, tmp_path: Path):
    settings = ["backbone=tiny_wan", *SMALL, *WORDS]
    if command == "renoise":
        settings += [f"video_path={clip}", "renoise_timestep=[0]"]
    run(script, *settings, f"output_dir={tmp_path / 'earlier'}")
    run("imap", command, *settings, f"output_dir={tmp_path / 'now'}")
    same_files(tmp_path / "earlier", tmp_path / "now", 8)


@pytest.mark.slow
def test_view_as_a_module_draws_what_the_command_draws(run, tmp_path: Path):
    run("imap", "sample", "backbone=tiny_wan", *SMALL, *WORDS, f"output_dir={tmp_path / 'run'}")
    sample = tmp_path / "run" / FOLDER
    options = [str(sample), "--key", "cross_attention_maps", "--no-report", "--columns", "2"]
    run("-m", "imap.view", *options)
    (sample / "view").rename(tmp_path / "earlier")
    run("imap", "view", *options)
    same_files(tmp_path / "earlier", sample / "view", 8)
    record = json.loads((sample / "view" / "view.json").read_text(encoding="utf-8"))
    assert {text["key"] for text in record["texts"].values()} == {"cross_attention_maps"}


def test_render_as_a_module_writes_what_the_command_writes(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    options = ["--count", "2", "--num_frames", "9", "--seed", "3", "--pan", "1"]
    run("-m", "imap.shapes.render", "earlier", *options)
    run("imap", "shapes", "render", "now", *options)
    listed = json.loads((tmp_path / "earlier" / "clips.json").read_text(encoding="utf-8"))
    assert len(listed) == 2
    for folder in ("earlier", "now"):  # the list has the clips' paths
        text = (tmp_path / folder / "clips.json").read_text(encoding="utf-8")
        (tmp_path / folder / "clips.json").write_text(text.replace(folder, "FOLDER"), encoding="utf-8")
    same_files(tmp_path / "earlier", tmp_path / "now", 5)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        (["imap.figures", "teaser"], ["figures", "teaser"]),
        (["imap.shapes.train"], ["shapes", "train"]),
        (["imap.shapes.benchmark"], ["shapes", "benchmark"]),
        (["imap.shapes.render"], ["shapes", "render"]),
        (["imap.view"], ["view"]),
    ],
)
def test_modules_have_the_settings_of_the_command(module: list[str], command: list[str], run, capsys):
    def names(*line: str) -> list[str]:
        run(*line, "--help")
        return [x for x in re.findall(r"(?m)^  ([\w.-]+)", capsys.readouterr().out) if x not in ("imap", "python")]

    listed = names("imap", *command)
    assert len(listed) >= 5 and names("-m", *module) == listed


@pytest.mark.parametrize("script", sorted((ROOT / "scripts" / "figures").glob("*.sh")), ids=lambda path: path.stem)
def test_a_figure_script_draws_the_figure_of_its_name(script: Path):
    assert script.stem in FIGURES
    assert f"exec python -m imap.figures {script.stem} " in script.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [path for path in sorted((ROOT / "scripts" / "MeViS").glob("*.sh")) if path.stem != "run"]
)
def test_a_script_of_the_paper_sets_the_papers_values(script: Path, tmp_path: Path):
    python = tmp_path / "python"  # prints its arguments
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\" END\n")
    python.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shown = subprocess.run([script, "seed=7"], env=environment, capture_output=True, text=True, check=True).stdout
    sampling, renoising, _ = (part.strip().split("\n") for part in shown.split("END\n"))
    for (program, *settings), name in ((sampling, "sampling"), (renoising, "renoising")):
        assert program == f"main_{name.capitalize()}.py" and settings[-1] == "seed=7"
        config: Any = OmegaConf.to_container(composed(name, *settings), resolve=True)
        paper = config["backbone"]["paper"]
        assert {key: config[key] for key in paper if key in config} == {
            key: paper[key] for key in paper if key in config
        }
        assert config["output_dir"] == f"outputs/MeViS/{script.stem}/{name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["main_Sampling.py", "--help"], "usage: python main_Sampling.py [setting=value ...]"),
        (["main_Renoising.py", "--help"], "usage: python main_Renoising.py [setting=value ...]"),
        (["-m", "imap", "--help"], "usage: imap COMMAND"),
        (["-m", "imap.view", "--help"], "usage: python -m imap.view"),
        (["-m", "imap.figures", "teaser", "--help"], "usage: python -m imap.figures teaser"),
        (["-m", "imap.shapes.render", "--help"], "--count"),
        (["-m", "imap.shapes.train", "--help"], "usage: python -m imap.shapes.train"),
        (["-m", "imap.shapes.benchmark", "--help"], "usage: python -m imap.shapes.benchmark"),
    ],
)
def test_real_processes_print_their_help(command: list[str], part: str):
    shown = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert part in shown
