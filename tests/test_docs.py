"""The documentation agrees with the code: citations, modules, settings and files that it names."""

import csv
import re
import sys
from pathlib import Path

import pytest

from imap.cli.help import setting_groups

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
METHOD = (DOCS / "method.md").read_text(encoding="utf-8")
SECTIONS = set(re.findall(r"(?m)^##+ (\d+(?:\.\d)?)\.? .+ \{#s\1\}$", METHOD))
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
CODE = [
    path
    for folder in ("imap", "configs", "benchmarks", "examples", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".md", ".html", ".ipynb")
]


@pytest.fixture
def hooks(monkeypatch):
    """The hooks of mkdocs."""
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "hooks", raising=False)
    import hooks

    return hooks


def citations(text: str) -> list[str]:
    """Sections of method.md that a text cites, such as 2.3 and 4 in `(docs/method.md, 2.3 and 4)`."""
    cited = re.findall(r"method\.md,?\s+((?:\d+(?:\.\d+)?)(?:(?:, | and | to |, and )\d+(?:\.\d+)?)*)", text)
    return [number for part in cited for number in re.findall(r"\d+(?:\.\d+)?", part)]


def test_a_citation_is_read_with_all_its_sections():
    assert citations("(docs/method.md, 2.3, 3.1 and 6)") == ["2.3", "3.1", "6"]
    assert citations("(method.md 5), docs/method.md, 2 to 6") == ["5", "2", "6"]
    assert citations("docs/method.md, 6, after arXiv 2507.17657") == ["6"]


def test_the_method_has_its_sections():
    subsections = {"2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3"}
    beyond = {"10", "10.1", "10.2", "10.3", "10.4"}
    assert set("123456789") | subsections | beyond <= SECTIONS


def test_every_citation_of_the_method_is_a_section_that_exists():
    found = 0
    for path in CODE:
        numbers = citations(path.read_text(encoding="utf-8"))
        assert set(numbers) <= SECTIONS, f"{path}: {set(numbers) - SECTIONS}"
        found += len(numbers)
    assert found > 20


def test_every_section_that_the_reference_names_exists():
    numbers = re.findall(r"\((\d+(?:\.\d)?)\)", (ROOT / "imap/methods/reference.py").read_text(encoding="utf-8"))
    assert len(numbers) > 8 and set(numbers) <= SECTIONS


def test_nothing_cites_a_text_that_is_not_here():
    package = [path for path in CODE if not path.is_relative_to(ROOT / "tests")]
    old = [path for path in package if re.search(r"\bMETHOD \d", path.read_text(encoding="utf-8"))]
    assert old == []


def test_every_file_that_a_page_names_exists():
    pages = [page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")]
    named = {path for page in pages for path in re.findall(r"`((?:imap|tests|examples|benchmarks)/[\w./]+)`", page)}
    assert len(named) > 40 and [path for path in named if not (ROOT / path).exists()] == []


def test_the_walk_of_a_configuration_has_ten_steps_that_name_a_module():
    steps = re.findall(r"(?m)^\d+\. (.+)$", ARCHITECTURE)
    assert len(steps) == 10 and all(re.match(r"`imap/\w+/\w+\.py` ", step) for step in steps)


def test_the_tree_of_the_architecture_page_is_that_of_the_package():
    tree = re.search(r"```\nimap/\n(.*?)```", ARCHITECTURE, re.DOTALL).group(1)
    listed = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {path.name for path in (ROOT / "imap").iterdir() if (path / "__init__.py").is_file()}
    there |= {path.name for path in (ROOT / "imap").glob("*.py") if not path.name.startswith("__")}
    assert listed == there


def test_the_order_of_imports_is_that_of_the_contract():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = re.search(r"layers = \[\n(.*?)\n\]", text, re.DOTALL).group(1)
    levels = [set(line.split('"')[1].split(" | ")) for line in contract.splitlines()]
    shown = [set(re.findall(r"`(\w+)`", cells)) for cells in re.findall(r"(?m)^\| \d+ \| (.+) \|$", ARCHITECTURE)]
    assert shown == levels[::-1]


@pytest.mark.parametrize("config_name", ["sampling", "renoising", "figures", "shapes_train", "shapes_benchmark"])
def test_the_settings_page_has_every_setting(config_name, hooks):
    page = hooks.settings()
    names = [setting.name for group in setting_groups(config_name) for setting in group.settings]
    assert names and [name for name in names if f"| `{name}` |" not in page] == []


def test_the_settings_page_has_the_settings_that_the_files_hold(hooks):
    page = hooks.settings()
    for name in ("sampling", "renoising", "method/imap"):
        text = (ROOT / f"configs/{name}.yaml").read_text(encoding="utf-8").partition("\nhydra:")[0]
        names = set(re.findall(r"(?m)^(\w+): .*#", text)) - {"video", "shard"}
        assert len(names) > 8 and [x for x in names if f"| `{x}` |" not in page] == []


def test_braces_of_a_comment_are_shown(hooks):
    assert '`{"caption", "concepts", "object"}`' in hooks.settings()  # else Markdown takes them for attributes


def test_the_backbones_are_listed_with_their_defaults(hooks):
    assert "| `cogvideox_5b` | 49x480x720 | 50 | 30 | 1-5, 7-21, 23 | 5/48 | concepts |" in hooks.backbone_table()


def test_the_hook_fills_the_settings_page_only(hooks):
    page = (DOCS / "reference/settings.md").read_text(encoding="utf-8")

    def made(path: str) -> str:
        file = type("File", (), {"src_uri": path})
        return hooks.on_page_markdown(page, type("Page", (), {"file": file}))

    assert "<!--" not in made("reference/settings.md") and "| `prompt` |" in made("reference/settings.md")
    assert made("index.md") == page


@pytest.mark.parametrize("family", ["wan", "cogvideox", "hunyuanvideo"])
def test_sweeps_are_numbers(family):
    with (DOCS / f"embedded_world/{family}_sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 600 and {row["at"].split()[0] for row in rows} == {"layer", "step"}
    for row in rows:
        mean, low, high = (float(row[name]) for name in ("ap", "ap_low", "ap_high"))
        assert 0 <= low <= mean <= high <= 1


def test_the_readme_is_short_and_starts_with_two_commands_of_one_line():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    assert text.count("\n") <= 120 and len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks) and "imap sample" in blocks[0] and "pytest" in blocks[1]


def test_every_link_of_the_readme_into_the_repository_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    inside = [link for link in links if not link.startswith("../")]  # the badge is a page of the host
    assert inside and [link for link in inside if not (ROOT / link).exists()] == []
