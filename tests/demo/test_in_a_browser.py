"""`imap demo` in a real browser: maps of a prompt and of a clip, messages, the queue, and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import imap
from tests.browser import NAMES, Browser, find

pytestmark = pytest.mark.slow
REQUIRED = os.environ.get("IMAP_CHROMIUM") == "required"  # a missing browser is then a failure
CLIP = Path(imap.demo_model("wan")).parents[1] / "clips/49_frames/000-a-ring-flashes-while-a-box-jumps.mp4"
LAPTOP, PHONE = (1280, 800), (390, 844)
MOST = 30  # seconds from the command to the page; 8 to 12 were measured, on machines with other work
STATUS = "document.querySelector('#status').innerText"
# gradio writes the value of a new field a second time, up to 15 ms after it appears, so `press` fills it again
FILL = """
const filled = window.filled ??= {};
const field = name => document.querySelector(`#${name} textarea, #${name} input`);
const put = name => {
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field(name)), 'value').set.call(field(name), filled[name]);
  field(name).dispatchEvent(new Event('input', {bubbles: true}));
};
const fill = (name, text) => {
  filled[name] = text;
  put(name);
};
const press = async name => {
  const differ = () => Object.keys(filled).filter(name => field(name).value !== filled[name]);
  do {
    differ().forEach(put);
    await new Promise(next => setTimeout(next, 300));
  } while (differ().length);
  document.querySelector(`#${name}`).click();
};
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"none of {', '.join(NAMES)} is installed")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


class Served:
    """`imap demo` as a process, and its address."""

    def __init__(self, folder: Path) -> None:
        self.folder, began = folder, time.monotonic()
        folder.mkdir()
        command = [sys.executable, "-m", "imap", "demo"]
        environment = os.environ | {
            "TMPDIR": str(folder),
            "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "torch"),  # torch makes it when it is imported
            "http_proxy": "http://127.0.0.1:9",  # a proxy that is not there
        }
        self.errors = (folder.parent / "errors.txt").open("w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.seconds = time.monotonic() - began
        self.address = self.line.partition(" ")[0]

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pytest.importorskip("gradio")
    served = Served(tmp_path_factory.mktemp("temporary") / "files")
    yield served
    if served.process.poll() is None:
        served.process.kill()
        served.process.wait()


def wait(until) -> None:
    for _ in range(300):
        if until():
            return
        time.sleep(0.1)
    pytest.fail("not within 30 s")


def opened(browser, served, size=LAPTOP, dark=False):
    tab = browser.open(served.address, size, dark)
    tab.until("!!document.querySelector('#start')")
    return tab


def test_a_prompt_gives_maps(browser, served, tmp_path):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)\n", served.line)
    tab = opened(browser, served)
    tab.run(FILL + "fill('prompt', 'a cross dips while a box grows'); fill('concepts', 'cross, box')")
    tab.run(FILL + "fill('motions', 'dips, grows'); await press('start')")
    tab.until(f"/step \\d+ of 20/.test({STATUS})")
    tab.until(f"/Finished/.test({STATUS})")
    video = "document.querySelector('#overview video')"
    tab.until(f"{video}.readyState === 4 && {video}.currentTime > 0")  # it plays
    assert tab.run(f"return [{video}.videoWidth, {video}.duration]") == [1072, pytest.approx(25 / 8, abs=0.2)]
    player = "document.querySelector('#player iframe').contentDocument"
    tab.until(f"!!{player}?.querySelector('canvas')")
    words = tab.run(f"return [...{player}.querySelectorAll('.words button')].map(x => x.innerText)")
    assert words == ["All words", "cross", "box", "dips", "grows"]
    panels = f"{player}.querySelectorAll('.panel:not([hidden])').length"
    assert tab.until(panels) == 5
    tab.run(f"{player}.querySelectorAll('.words button')[1].click()")  # one word, beside the video
    tab.until(f"{panels} === 2")
    heights = tab.run(f"return [document.querySelector('#player iframe').clientHeight, {player}.body.scrollHeight]")
    assert heights[0] >= heights[1] > 400  # nothing in it scrolls
    browser.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.run("document.querySelector('#download').click()")
    packed = tmp_path / "000-a-cross-dips-while-a-box-grows.zip"
    wait(lambda: packed.is_file())
    assert sum(name.endswith(".npy") for name in zipfile.ZipFile(packed).namelist()) > 8
    others = [x for x in tab.requests() if not x.startswith((served.address, "data:", "blob:"))]
    assert others == []  # no network
    tab.close()


def test_an_example_clip_is_read_on_a_phone(browser, served):
    tab = opened(browser, served, PHONE, dark=True)
    tab.run("document.querySelectorAll('#mode input')[1].click()")
    tab.until("!!document.querySelector('#clips button')")
    example = "[...document.querySelectorAll('#clips button')].find(x => /ring jumps while a box/.test(x.innerText))"
    tab.run(f"{example}.click()")
    tab.until("document.querySelector('#concepts textarea, #concepts input').value === 'ring, box'")
    tab.until("!!document.querySelector('#clip video')")
    tab.run(FILL + "await press('start')")
    tab.until(f"/Finished/.test({STATUS})")
    tab.until("document.querySelector('#overview video').readyState === 4")
    assert tab.run("return document.documentElement.scrollWidth") == PHONE[0]
    tab.close()


def test_an_uploaded_clip_is_fitted_to_the_model(browser, served):
    tab = opened(browser, served)
    tab.run("document.querySelectorAll('#mode input')[1].click()")
    tab.until("!!document.querySelector('#clip input[type=file]')")
    root = tab.ask("DOM.getDocument")["root"]["nodeId"]
    field = tab.ask("DOM.querySelector", nodeId=root, selector="#clip input[type=file]")["nodeId"]
    tab.ask("DOM.setFileInputFiles", nodeId=field, files=[str(CLIP)])
    tab.until("!!document.querySelector('#clip video')")
    words = "fill('prompt', 'a ring flashes'); fill('concepts', 'ring'); fill('motions', 'flashes')"
    tab.run(f"{FILL} {words}; await press('start')")
    tab.until(f"/Finished/.test({STATUS})")
    (meta,) = served.folder.glob("imap-demo-*/job-*/000-a-ring-flashes/meta.json")
    clip = json.loads(meta.read_text())["clip"]
    assert clip["frames"] == 49 and clip["taken"] == list(range(0, 49, 2))  # 25 frames, evenly
    tab.close()


def test_a_bad_word_gets_the_message_of_the_command(browser, served, tmp_path):
    command = [sys.executable, "-m", "imap", "sample", "concepts=ball, ball", "prompt=a ball", f"output_dir={tmp_path}"]
    said = subprocess.run(command, capture_output=True, text=True).stderr.strip().splitlines()[-1]
    tab = opened(browser, served)
    tab.run(
        FILL + "fill('prompt', 'a ball'); fill('concepts', 'ball, ball'); fill('motions', ''); await press('start')"
    )
    tab.until("!!document.querySelector('#status .refused')")
    assert said == f"imap: error: {tab.run(f'return {STATUS}').strip()}" and "duplicate" in said
    assert tab.run(
        "return [document.querySelector('#start').disabled, document.querySelector('#cancel').disabled]"
    ) == [False, True]
    tab.close()


def test_a_second_job_waits_until_the_first_is_cancelled(browser, served):
    jobs = set(served.folder.glob("imap-demo-*/job-*"))
    first = opened(browser, served)
    second = opened(browser, served)
    first.run("document.querySelector('#settings button').click()")
    first.until("document.querySelector('#steps input')?.value === '20'")
    first.run(FILL + "fill('steps', '400'); await press('start')")
    first.until(f"/step [1-9]\\d* of 400/.test({STATUS})")
    second.run(FILL + "await press('start')")
    second.until(f"/Waiting for the job before this one/.test({STATUS})")
    time.sleep(1)
    assert "Waiting" in second.run(f"return {STATUS}") and "of 400" in first.run(f"return {STATUS}")
    first.run("document.querySelector('#cancel').click()")
    first.until(f"/Cancelled/.test({STATUS})")
    second.until(f"/Finished/.test({STATUS})")
    assert len(set(served.folder.glob("imap-demo-*/job-*")) - jobs) == 1  # of the second
    second.close()
    first.close()


def test_ctrl_c_during_a_job_leaves_no_file(browser, served):
    tab = opened(browser, served)
    tab.run(FILL + "await press('start')")
    tab.until(f"/step [1-9]\\d* of 20/.test({STATUS})")
    assert list(served.folder.glob("imap-demo-*/job-*"))
    assert served.end() == 130
    assert list(served.folder.iterdir()) == []
    served.errors.close()
    assert Path(served.errors.name).read_text().endswith("imap: interrupted\n")
