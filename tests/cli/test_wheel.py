"""A wheel built from the tree is complete: it samples, in an empty folder, without the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("imap", "configs", "pyproject.toml", "README.md", "LICENSE")


@pytest.mark.slow
def test_a_wheel_samples_in_an_empty_folder(tmp_path):
    pytest.importorskip("hatchling")
    tree, wheels, site, empty = (tmp_path / name for name in ("tree", "wheels", "site", "empty"))
    tree.mkdir()
    empty.mkdir()
    for name in PARTS:  # a copy: building leaves files behind
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, tree], check=True)
    (wheel,) = wheels.glob("imap_video-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)

    settings = ["backbone=tiny_wan", "height=32", "width=48", "num_frames=9", "num_inference_steps=2"]
    words = ["prompt=a red ball rolls", "concepts=ball", "motions=rolls"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import imap; print(imap.__file__)"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    subprocess.run([sys.executable, "-m", "imap", "sample", *settings, *words], cwd=empty, env=environment, check=True)
    run = empty / "outputs" / "sampling" / "tiny_wan"
    (sample,) = (path for path in run.iterdir() if path.is_dir())
    files = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    assert {"report.html", f"{sample.name}/output.mp4", f"{sample.name}/npy/sel_imap_layers.npy"} <= files
