"""The page is built of the engine's settings, and a Space needs four lines for it."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from imap.demo import page, parts
from imap.demo.engine import Form
from imap.demo.job import Stopped

pytestmark = pytest.mark.slow  # gradio takes seconds to import
SPACE = Path(__file__).parents[2] / "examples/space"
TINY = ("backbone=tiny_wan", "height=32", "width=48", "num_frames=9", "num_inference_steps=2", "read=during")


@pytest.fixture(scope="module")
def built():
    """One page: gradio keeps the folder of the first one in a process."""
    if find_spec("gradio") is None:
        pytest.skip("gradio is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())  # the page sets some
        made = page(*TINY, "seed=5", "effect=true")
        yield made
        made.end()
    assert not made.engine.folder.exists()


def values(made):
    return {
        one.elem_id: one.value
        for one in made.blocks.values()
        if getattr(one, "elem_id", None) and hasattr(one, "value")
    }


def test_the_form_opens_with_the_settings_of_the_command_line(built):
    shown = values(built)
    assert (shown["seed"], shown["steps"], shown["read"], shown["effect"]) == (5, 2, "during", True)
    assert shown["prompt"] == "A horse gallops across a field." and shown["motions"] == "gallops"
    assert shown["start"] == "Show the maps" and (shown["resize"], shown["frames"]) == ("crop", "uniform")


def test_gradio_counts_nobody_and_keeps_its_files_in_the_folder_of_the_results(built):
    assert built.analytics_enabled is False and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert {one.GRADIO_CACHE for one in built.blocks.values()} == {str(built.engine.folder)}


@pytest.fixture
def endless(built, monkeypatch):
    """Jobs that end when they are stopped. Gives the forms of those that have begun, and of those that have ended."""
    begun, ended = [], []

    def run(form, progress):
        begun.append(form)
        try:
            while True:
                progress("denoise", 0, 1)
                time.sleep(0.01)
        except Stopped:
            ended.append(form)
            raise

    monkeypatch.setattr(built.engine, "run", run)
    return begun, ended


def test_a_closed_generator_stops_its_job(built, endless):
    begun, ended = endless
    form = Form(False, "a", "b", "c")
    generator = built.run(form, "mine")
    job = next(generator)
    assert begun == [form] and built.jobs == {job}
    generator.close()
    assert job.ended(5) and ended == [form] and isinstance(job.error, Stopped) and not built.jobs


def test_a_cancelled_job_ends_with_its_own_last_message(built, endless):
    """And no other event says so: the page might show an earlier message after it."""
    functions = {one.name: one.fn for one in built.fns.values()}
    mine, other = (SimpleNamespace(session_hash=name) for name in ("mine", "other"))
    given = {one: one.value for one in next(x for x in built.fns.values() if x.name == "work").inputs}
    named = {one.elem_id: one for one in built.blocks.values() if getattr(one, "elem_id", None)}
    shown = {name: functions["work"](given, request) for name, request in (("mine", mine), ("other", other))}
    assert functions["begin"](mine)[named["cancel"]].interactive
    assert all("step 0 of 1" in next(one)[named["status"]] for one in shown.values())
    assert list(functions["end"](mine)) == [named["cancel"]]
    assert "Cancelling" in next(shown["mine"])[named["status"]]
    *_, last = islice(shown["mine"], 30)
    assert "Cancelled" in last[named["status"]] and last[named["start"]].interactive
    assert "step 0 of 1" in next(shown["other"])[named["status"]]
    shown["other"].close()
    functions["begin"](mine)
    again = functions["work"](given, mine)
    assert "step 0 of 1" in next(again)[named["status"]]  # an earlier click ends no later job
    again.close()


def test_the_app_of_the_space_builds():
    if find_spec("gradio") is None:
        pytest.skip("gradio is not installed")
    code = (
        "import runpy, sys; made = runpy.run_path(sys.argv[1])['page']; "
        "print(made.title, made.engine.backbone['name'], len(made.fns)); made.end()"
    )
    command = [sys.executable, "-c", code, str(SPACE / "app.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[:2] == ["imap", "shapes_wan"] and int(said[2]) > 5


def test_the_header_of_the_space_names_its_app():
    header = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert header["sdk"] == "gradio" and header["app_file"] == "app.py" and header["sdk_version"].startswith("6.")
    assert (SPACE / "app.py").is_file() and "imap-video[demo]" in (SPACE / "requirements.txt").read_text(
        encoding="utf-8"
    )
    assert len(header["short_description"]) <= 60  # characters that a Space takes


def test_texts_of_users_are_no_html():
    for shown in (parts.refused("<b>"), parts.noted(["<b>"]), parts.head({"name": "<b>", "words": ["<b>"]})):
        assert "&lt;b&gt;" in shown and "<b>&" not in shown
    assert parts.player('<p title="a">').count('"') == 8 and "&lt;p title=&quot;a&quot;&gt;" in parts.player(
        '<p title="a">'
    )
    assert parts.noted([]) == ""
    assert '<progress max="20" value="7">' in parts.progress(("denoise", 7, 20), False)
    assert "step 7 of 20" in parts.progress(("denoise", 7, 20), True)
