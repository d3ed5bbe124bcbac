"""Run diffusers' own pipeline tests of imap's families twice, untraced and with a trace around every pipeline call.

git clone --depth 1 --branch v0.42.1 https://github.com/huggingface/diffusers checkout
python -m benchmarks.diffusers_suite checkout
python -m benchmarks.diffusers_suite checkout --tests ltx mochi wan/test_wan_vace.py      # a part
python -m benchmarks.diffusers_suite checkout --list                                      # files, without a run

Needs the extra `test`, and `pip install parameterized requests-mock`. The checkout gives the tests, which the wheel
lacks; the installed diffusers is tested. A call that imap refuses is repeated without a trace, and the table tells
how many were refused and why. The exit status is 1 if a test has another outcome, or a call another output, random
state or error; if a hook is left; or if a map is not finite.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.diffusers_suite.calls import folders
from benchmarks.diffusers_suite.compare import Log, faults, read_log, table

ROOT = Path(__file__).parents[2]
PLUGINS = ("stand_ins", "calls")


def files_of(checkout: Path, chosen: Sequence[str]) -> list[str]:
    """Files of pipeline tests in a checkout. chosen: folders or files below tests/pipelines; default: all families."""
    tests, found = checkout / "tests" / "pipelines", []
    for name in chosen or [x for x in folders() if (tests / x).is_dir()]:
        files = [tests / name] if name.endswith(".py") else sorted((tests / name).glob("test_*.py"))
        if not files or not all(file.is_file() for file in files):
            sys.exit(f"no tests in {tests / name}; there are those of {', '.join(folders())}")
        found += [str(file.relative_to(checkout)) for file in files]
    return found


def run_tests(checkout: Path, log: Path, traced: bool, files: Sequence[str], chosen: str) -> Log:
    """Run tests in a new process, and read their log. chosen: as -k of pytest."""
    log.unlink(missing_ok=True)
    plugins = [x for name in PLUGINS for x in ("-p", f"benchmarks.diffusers_suite.{name}")]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *plugins, "-k", chosen]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"SUITE_LOG": str(log.absolute()), "SUITE_TRACE": "1" if traced else "", "PYTHONPATH": path}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **settings}
    with log.with_suffix(".txt").open("w", encoding="utf-8") as said:
        status = subprocess.run([*command, *files], cwd=checkout, env=environment, stdout=said, stderr=said)
    if not log.exists() or status.returncode not in (0, 1):
        sys.exit(f"pytest ended with status {status.returncode}; see {log.with_suffix('.txt')}")
    return read_log(log)


def main(argv: list[str]) -> int:
    """Run both, print what differs and the figures. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of a diffusers checkout")
    parser.add_argument("--tests", nargs="+", default=(), help="folders or files below tests/pipelines; default: all")
    parser.add_argument("--list", action="store_true", help="print the files, and end")
    parser.add_argument("-k", default="", help="only tests whose names match, as in pytest")
    parser.add_argument("--logs", type=Path, help="keep the logs in this folder")
    options = parser.parse_args(argv)
    files = files_of(options.checkout, options.tests)
    if options.list:
        print("\n".join(files))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        untraced, traced = (
            run_tests(options.checkout, folder / f"{name}.jsonl", name == "traced", files, options.k)
            for name in ("untraced", "traced")
        )
    found = list(faults(untraced, traced))
    print(table(untraced, traced))
    print("\n".join([f"faults: {len(found)}", *found]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
