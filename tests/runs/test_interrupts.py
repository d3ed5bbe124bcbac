"""Ctrl-C and SIGTERM end a command with 130 and 143, wherever it is; the second one ends it at once."""

import signal
import subprocess
import sys
import time

import pytest

START = (
    "import os, signal, sys, threading, time\nfrom imap.runs.interrupts import ends_on_signals, uninterrupted, check\n"
)
IN_A_DESTRUCTOR = """
class Clip:
    def __del__(self):
        os.kill(os.getpid(), number)
        for _ in range(100): pass
with ends_on_signals():
    clip = Clip()
    del clip
    while True: time.sleep(0.05)
"""
LOST_AND_SENT_AGAIN_WHILE_IT_ENDS = """
class Clip:
    def __del__(self):
        os.kill(os.getpid(), number)
        for _ in range(100): pass
class Slow:
    def write(self, text): time.sleep(0.1); sys.__stderr__.write(text)
    def flush(self): sys.__stderr__.flush()
sys.stderr = Slow()
with ends_on_signals():
    clip = Clip()
    del clip
    check()
"""
IN_A_LIBRARY_THAT_IGNORES_IT = """
with ends_on_signals():
    try:
        os.kill(os.getpid(), number)
        time.sleep(1)
    except BaseException:
        pass
    while True:
        check()
"""
AS_AN_ERROR_OF_A_LIBRARY = """
with ends_on_signals():
    try:
        os.kill(os.getpid(), number)
        time.sleep(1)
    except KeyboardInterrupt:
        raise ImportError("numpy failed to import")
"""
AS_AN_ERROR_IN_ONE_LINE = """
with ends_on_signals():
    try:
        os.kill(os.getpid(), number)
        time.sleep(1)
    except KeyboardInterrupt:
        sys.exit("imap: error: cannot load the weights")
"""
AS_AN_ERROR_THAT_HYDRA_WOULD_PRINT = """
import traceback
from imap.runs.log import errors_in_one_line
with ends_on_signals():
    try:
        with errors_in_one_line():
            try:
                os.kill(os.getpid(), number)
                time.sleep(1)
            except KeyboardInterrupt:
                raise RecursionError("import numpy.linalg")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
"""
WHILE_A_LIBRARY_IS_IMPORTED = """
from imap.cli.commands import run_samples
from importlib.machinery import ModuleSpec
class Library:
    def find_spec(self, name, *rest):
        return ModuleSpec(name, self) if name == "imap.runs.runner" else None
    def create_module(self, spec): pass
    def exec_module(self, module):
        module.run_command = print
        try:
            os.kill(os.getpid(), number)
            time.sleep(0.1)
        except KeyboardInterrupt:
            print("half imported")
sys.meta_path.insert(0, Library())
with ends_on_signals():
    run_samples({}, False)
"""
WHILE_A_THREAD_WORKS = """
from imap.runs.prefetch import Prefetch
with ends_on_signals(), Prefetch(time.sleep) as ahead:
    ahead.start(60)
    os.kill(os.getpid(), number)
    ahead.take(60)()
"""
IN_A_PROGRESS_BAR = """
from tqdm import tqdm
with ends_on_signals():
    for n in tqdm(range(10**9), file=open(os.devnull, "w")):
        if n == 1000: os.kill(os.getpid(), number)
"""
WHILE_IT_WAITS_FOR_A_PROCESS = """
from pathlib import Path
from imap.claims import claim
with ends_on_signals(), claim(Path(sys.argv[2])), claim(Path(sys.argv[2]), wait=True):
    pass
"""
PLACES = {name.lower(): code for name, code in globals().items() if isinstance(code, str) and name.isupper()}
del PLACES["start"]


def run(code: str, number: int = signal.SIGINT, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{START}number = int(sys.argv[1])\n{code}", str(int(number)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("place", [x for x in PLACES if x != "while_it_waits_for_a_process"])
def test_a_signal_ends_the_command_in_one_line(place: str, number: int):
    ended = run(PLACES[place], number)
    assert (ended.returncode, ended.stderr, ended.stdout) == (128 + number, "imap: interrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_waiting_for_another_process(number: int, tmp_path):
    code = START + "number = 0\n" + WHILE_IT_WAITS_FOR_A_PROCESS
    process = subprocess.Popen([sys.executable, "-c", code, "0", str(tmp_path / "a")], stderr=subprocess.PIPE)
    while not (tmp_path / ".a.lock").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    assert process.communicate(timeout=10)[1] == b"imap: interrupted\n" and process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_write_is_finished_before_the_command_ends():
    ended = run(
        "with ends_on_signals('; go on'):\n"
        " with uninterrupted():\n"
        "  with uninterrupted():\n"
        "   os.kill(os.getpid(), number); time.sleep(0.1); print('one', flush=True)\n"
        "  print('written', flush=True)\n"
        " print('not this')"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "one\nwritten\n", "imap: interrupted; go on\n")


def test_the_second_signal_ends_the_command_at_once():
    ended = run(
        "with ends_on_signals(), uninterrupted():\n"
        " os.kill(os.getpid(), number); time.sleep(0.4); os.kill(os.getpid(), number); time.sleep(1)\n"
        " print('not this')"
    )
    assert (ended.returncode, ended.stdout) == (130, "") and "ended at once" in ended.stderr


def test_a_signal_that_comes_twice_in_a_moment_counts_once():
    """`timeout` sends it to the process and then to its group."""
    ended = run(
        "with ends_on_signals():\n"
        " with uninterrupted():\n"
        "  os.kill(os.getpid(), number); os.kill(os.getpid(), number); print('written', flush=True)"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "written\n", "imap: interrupted\n")


def test_the_same_signal_again_while_the_process_ends_changes_no_status():
    ended = run(
        "import atexit\n"
        "atexit.register(lambda: (os.kill(os.getpid(), number), time.sleep(0.05)))\n"
        "with ends_on_signals():\n os.kill(os.getpid(), number); time.sleep(1)"
    )
    assert (ended.returncode, ended.stderr) == (130, "imap: interrupted\n")
    late = run(
        "try:\n with ends_on_signals():\n  os.kill(os.getpid(), number); time.sleep(1)\n"
        "except SystemExit: time.sleep(0.4)\n"
        "try: os.kill(os.getpid(), number); time.sleep(1)\n"
        "except KeyboardInterrupt: print('mine')"
    )
    assert (late.returncode, late.stdout) == (0, "mine\n")


def test_handlers_are_put_back_and_errors_pass():
    ended = run(
        "before = signal.getsignal(number), sys.unraisablehook\n"
        "try:\n with ends_on_signals():\n  raise ValueError('mine')\nexcept ValueError as error: print(error)\n"
        "assert (signal.getsignal(number), sys.unraisablehook) == before"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "mine\n", "")
