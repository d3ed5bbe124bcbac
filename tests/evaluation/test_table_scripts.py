"""Scripts of tables are sound bash, say how they are used, and name commands and options that exist."""

import argparse
import re
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from imap.evaluation.__main__ import COMMANDS

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts/tables").glob("*.sh"))
NEED_DATA = ("table1_mls", "table3_vspw", "mevis")


def options_of(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    import_module(f"imap.evaluation.commands.{command}").add_arguments(parser)
    return {option for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_names_what_exists(script):
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    text = script.read_text().replace("\\\n", " ")
    calls = re.findall(r"imap score (\w+)([^\n;]*)", re.sub(r"(?m)^#.*$", "", text))
    assert calls and {name for name, _ in calls} <= set(COMMANDS)
    for name, arguments in calls:
        assert set(re.findall(r"(?<=\s)--[a-z-]+", arguments)) <= options_of(name), name


@pytest.mark.parametrize("name", NEED_DATA)
def test_a_script_without_its_data_says_how_it_is_used(name):
    script = next(path for path in SCRIPTS if path.stem == name)
    ended = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    assert ended.returncode == 2 and f"Usage: {name}.sh" in ended.stderr and "#!" not in ended.stderr
