"""Run diffusers' own pipeline tests of the three families twice, untraced and with a trace around every pipeline call.

git clone --depth 1 --branch v0.42.1 https://github.com/huggingface/diffusers checkout
python -m benchmarks.diffusers_suite checkout

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
from pathlib import Path

from benchmarks.diffusers_suite.calls import FAMILIES
from benchmarks.diffusers_suite.compare import Log, faults, read_log, table

ROOT = Path(__file__).parents[2]
PLUGINS = ("stand_ins", "calls")


def run_tests(checkout: Path, log: Path, traced: bool, chosen: str) -> Log:
    """Run the tests in a new process, and read their log."""
    log.unlink(missing_ok=True)
    plugins = [x for name in PLUGINS for x in ("-p", f"benchmarks.diffusers_suite.{name}")]
    folders = [f"tests/pipelines/{family}" for family in FAMILIES]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *plugins, "-k", chosen]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"SUITE_LOG": str(log.absolute()), "SUITE_TRACE": "1" if traced else "", "PYTHONPATH": path}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **settings}
    with log.with_suffix(".txt").open("w", encoding="utf-8") as said:
        status = subprocess.run([*command, *folders], cwd=checkout, env=environment, stdout=said, stderr=said)
    if not log.exists() or status.returncode not in (0, 1):
        sys.exit(f"pytest ended with status {status.returncode}; see {log.with_suffix('.txt')}")
    return read_log(log)


def main(argv: list[str]) -> int:
    """Run both, print what differs and the figures. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of a diffusers checkout")
    parser.add_argument("-k", default="", help="only tests whose names match, as in pytest")
    parser.add_argument("--logs", type=Path, help="keep the logs in this folder")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        untraced, traced = (
            run_tests(options.checkout, folder / f"{name}.jsonl", name == "traced", options.k)
            for name in ("untraced", "traced")
        )
    found = list(faults(untraced, traced))
    print(table(untraced, traced))
    print("\n".join([f"faults: {len(found)}", *found]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
