"""The documentation agrees with the code: citations, modules and settings."""

import re
import sys
from pathlib import Path

import pytest

from imap.cli.help import setting_groups

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CODE = [path for folder in ("imap", "configs", "benchmarks", "examples") for path in (ROOT / folder).rglob("*")]
SECTIONS = set(re.findall(r"\{#s([\d.]+)\}", (DOCS / "method.md").read_text(encoding="utf-8")))


def citations(text: str) -> list[str]:
    """Sections of method.md that a text cites, such as 2.3 and 4 in `(docs/method.md, 2.3 and 4)`."""
    cited = re.findall(r"method\.md,? ((?:\d+(?:\.\d+)?)(?:(?:, | and | to |, and )\d+(?:\.\d+)?)*)", text)
    return [number for part in cited for number in re.findall(r"\d+(?:\.\d+)?", part)]


def test_every_citation_of_the_method_is_a_section_that_exists():
    found = 0
    for path in CODE:
        if path.suffix in (".py", ".yaml", ".md", ".html"):
            numbers = citations(path.read_text(encoding="utf-8"))
            assert set(numbers) <= SECTIONS, f"{path}: {set(numbers) - SECTIONS}"
            found += len(numbers)
    assert found > 20 and {"1", "2.3", "3.1", "9"} <= SECTIONS


def test_nothing_cites_a_text_that_is_not_here():
    old = [path for path in CODE if path.suffix in (".py", ".yaml") and re.search(r"\bMETHOD \d", path.read_text())]
    assert old == []


def test_every_module_of_the_architecture_page_exists():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    modules = re.findall(r"`(imap/[\w/]+(?:\.py|/))`", text)
    assert len(modules) > 12 and [module for module in modules if not (ROOT / module).exists()] == []
    tree = re.search(r"```\nimap/\n(.*?)```", text, re.DOTALL).group(1)
    listed = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {path.name for path in (ROOT / "imap").iterdir() if path.is_dir() and (path / "__init__.py").is_file()}
    assert there <= listed


@pytest.mark.parametrize("config_name", ["sampling", "renoising", "figures", "shapes_train", "shapes_benchmark"])
def test_the_settings_page_has_every_setting(config_name, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("hooks", None)
    import hooks

    page = hooks.settings()
    names = [setting.name for group in setting_groups(config_name) for setting in group.settings]
    assert names and [name for name in names if f"| `{name}` |" not in page] == []
    assert "| `cogvideox_5b` | 49x480x720 | 50 |" in hooks.backbone_table()


def test_the_readme_is_short_and_starts_with_two_commands_of_one_line():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    assert text.count("\n") <= 120 and len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks) and "imap sample" in blocks[0] and "pytest" in blocks[1]


def test_every_link_of_the_readme_into_the_repository_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    inside = [link for link in links if not link.startswith("../")]  # the badge is a page of the host
    assert inside and [link for link in inside if not (ROOT / link).exists()] == []
