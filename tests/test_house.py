"""House rules: few modules at the top, short modules and functions, public names that load fast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import imap

PACKAGE = Path(imap.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TOP_MODULES, MODULE_LINES, FUNCTION_LINES = 8, 250, 60


def test_few_modules_stand_at_the_top():
    assert len(list(PACKAGE.glob("*.py"))) <= TOP_MODULES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - node.body[0].lineno + 1
            assert body <= FUNCTION_LINES, f"{node.name} has {body} lines"


def test_every_module_says_what_it_is():
    assert [path.name for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_the_package_imports_without_torch_and_lists_its_public_names():
    code = "import sys, imap; print('torch' in sys.modules, *dir(imap))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "False"
    assert {"trace", "renoise", "Trace", "Maps", "SaliencyMap", "ImapError", "demo_model"} <= set(said[1:])
    assert all(hasattr(imap, name) for name in said[1:])


@pytest.mark.parametrize("family", ["cogvideox", "wan", "hunyuanvideo"])
def test_demo_models_are_folders_of_pipelines(family: str):
    assert (Path(imap.demo_model(family)) / "model_index.json").is_file()


def test_an_unknown_demo_model_is_refused_with_the_known_ones():
    with pytest.raises(imap.ImapError, match="'ltx'; choose cogvideox, hunyuanvideo, wan"):
        imap.demo_model("ltx")
