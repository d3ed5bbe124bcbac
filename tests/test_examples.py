"""The examples run as they stand."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import imap
from imap.media.video_io import read_video

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIP = Path(imap.demo_model("cogvideox")).parents[1] / "clips" / "001-a-box-jumps-while-a-ring-flashes.mp4"


@pytest.mark.slow
def test_the_notebook_runs_top_to_bottom_and_shows_pictures(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [kind for cell in notebook.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert kinds.count("image/png") == 5
    video = read_video(tmp_path / "outputs/quickstart/output.mp4").astype(int)
    red, green = (video[..., a] - np.maximum(video[..., b], video[..., c]) > 60 for a, b, c in ((0, 1, 2), (1, 0, 2)))
    assert 0.01 < red.mean() < 0.15 and 0.03 < green.mean() < 0.25  # a ball and a kite, and not noise


def test_the_notebook_is_stored_with_its_pictures_and_without_paths_of_a_machine():
    text = (EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8")
    outputs = [out for cell in json.loads(text)["cells"] for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 5 and len(text) < 1_700_000
    assert "/home/" not in text and "site-packages" not in text and '"stderr"' not in text


@pytest.mark.slow
def test_a_users_map_is_sampled_saved_and_read_again(tmp_path):
    maps = runpy.run_path(str(EXAMPLES / "new_map.py"))["main"](str(tmp_path / "maps"), steps=2)
    loaded = imap.Maps.load(tmp_path / "maps")
    assert loaded.names["soft_gramcol_layers"] == "soft GramCol" and (tmp_path / "maps/output.mp4").is_file()
    np.testing.assert_array_equal(loaded["soft_gramcol_layers"], maps["soft_gramcol_layers"])
    assert np.ptp(maps.of("ball", "soft GramCol")) > 0


def test_a_users_clip_is_read_and_saved(tmp_path, monkeypatch, capsys):
    clip = shutil.copy(CLIP, tmp_path / "clip.mp4")
    words = ["--concepts", "box, ring", "--motions", "jumps", "--output", str(tmp_path / "maps")]
    monkeypatch.setattr(sys, "argv", ["own_clip.py", str(clip), "a box jumps while a ring flashes", *words])
    runpy.run_path(str(EXAMPLES / "own_clip.py"), run_name="__main__")
    assert "imap view" in capsys.readouterr().out
    assert imap.Maps.load(tmp_path / "maps").texts == ("box", "ring", "jumps")
