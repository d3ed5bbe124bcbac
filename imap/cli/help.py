"""The settings of a command, grouped and explained by the comments of its configuration files."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from imap.config.presets import config_folder

WIDTH, INDENT = 100, 30  # characters
GALLOP = 'video_path=horse.mp4 prompt="A horse gallops." concepts=horse motions=gallops'
EXAMPLES = {
    "sampling": (
        "",
        'backbone=cogvideox_5b prompt="A horse gallops across a field." concepts="horse, field" motions=gallops',
        "backbone=wan2_1_14b input_json=prompts.json output_dir=outputs/prompts",
        "--cfg job",
    ),
    "renoising": (
        "",
        f"backbone=cogvideox_5b {GALLOP}",
        "backbone=wan2_1_14b input_json=clips.json video.resize=crop video.frames=uniform",
        "--cfg job",
    ),
    "figures": ("", f"backbone=cogvideox_5b {GALLOP}"),
    "shapes_train": ("backbone=shapes_wan", "backbone=shapes_wan denoiser.steps=100 output_dir=outputs/try"),
    "shapes_benchmark": ("backbone=shapes_cogvideox", "backbone=shapes_wan split=dev-2 clips=10"),
}
EXPLAINED = "cogvideox_5b"  # the backbone whose comments explain the model settings
HIDDEN = (
    "backbone.name",
    "backbone.family",
    "backbone.num_layers",
    "backbone.num_heads",
    "backbone.weights_gb",
)  # not for users to set
PLACES = {"name": "BACKBONE", "family": "FAMILY"}  # in defaults of folders
PAPER, BY_BACKBONE = "paper", "by backbone"  # labels of defaults that depend on the backbone
ORDER = {
    "What to look for": 0,
    "Run": 0,
    "Model": 1,
    "Output": 3,
    "Long lists": 4,
}  # places of titles; 2 is that of all others


@dataclass(frozen=True)
class Setting:
    """A setting of a command.

    Attributes:
        name: with dots for a nested setting, such as `video.resize`.
        default: as written in the configuration; empty for none; `paper` or `by backbone` if the backbone has it.
        meaning: from the comment beside it.
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class SettingGroup:
    """Settings under one title."""

    title: str
    settings: tuple[Setting, ...]


def setting_groups(config_name: str) -> list[SettingGroup]:
    """All settings of a command under their titles.

    Args:
        config_name: of a file in configs/, such as `sampling`.
    """
    text = _text(config_name)
    chosen = dict(re.findall(r"(?m)^  - (\w+): (\w+)$", text))
    groups = _groups(text, "Settings")
    if "method" in chosen:
        groups += _groups(_text(f"method/{chosen['method']}"), "Maps")
    if config_name != "shapes_train":
        groups.append(_model_group(backbones(config_name)))
    filled = [group for group in groups if group.settings]
    return sorted(filled, key=lambda group: ORDER.get(group.title, 2))


def backbones(config_name: str) -> list[str]:
    """Backbones that a command accepts, the published ones first."""
    names = [path.stem for path in sorted((config_folder() / "backbone").glob("*.yaml"))]
    small = [name for name in names if name.startswith("shapes_")]
    if config_name.startswith("shapes_"):
        return small
    tiny = [name for name in names if name.startswith("tiny_")]
    return [*(name for name in names if name not in (*small, *tiny)), *small, *tiny]


def manual(config_name: str, program: str, about: str) -> str:
    """The text of a command's --help.

    Args:
        config_name: of a file in configs/.
        program: name of the command in usage lines.
        about: what the command does.
    """
    examples = "\n".join(_example(f"{program} {arguments}".strip()) for arguments in EXAMPLES[config_name])
    groups = setting_groups(config_name)
    parts = [
        f"usage: {program} [setting=value ...]\n\n{inspect.cleandoc(about)}",
        f"examples:\n{examples}",
        f"backbones:\n{_filled(_backbone_line(config_name), '  ')}",
        *("\n".join([f"{group.title}:", *map(_line, group.settings)]) for group in groups),
        _filled(_notes(groups), ""),
    ]
    return "\n\n".join(parts)


def _text(name: str) -> str:
    return (config_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def _model_group(names: list[str]) -> SettingGroup:
    """Settings of the backbones, each with the default that all of them share."""
    defaults = [{setting.name: setting.default for setting in _model_settings(name)} for name in names]
    settings = []
    for setting in _model_settings(EXPLAINED):
        values = {of_backbone[setting.name] for of_backbone in defaults}
        settings.append(replace(setting, default=values.pop() if len(values) == 1 else BY_BACKBONE))
    return SettingGroup("Model", tuple(settings))


def _model_settings(name: str) -> tuple[Setting, ...]:
    return _groups(_text(f"backbone/{name}").partition("\npaper:")[0], "Model", "backbone.")[0].settings


def _backbone_line(config_name: str) -> str:
    match = re.search(r"(?m)^  - backbone: (\w+)$", _text(config_name))
    default = match[1] if match else ""
    return f"backbone={default} (default), or one of {', '.join(x for x in backbones(config_name) if x != default)}"


def _notes(groups: list[SettingGroup]) -> str:
    defaults = {setting.default for group in groups for setting in group.settings}
    notes = ["[...] is the default."]
    if PAPER in defaults:
        notes.append("[paper]: the backbone's default, which is the paper's value for published models.")
    if BY_BACKBONE in defaults:
        notes.append("[by backbone]: another default for each backbone.")
    notes.append("--cfg job prints all values of a command and runs nothing. --hydra-help lists Hydra's flags.")
    return " ".join(notes)


def _example(command: str) -> str:
    """A command in lines of at most WIDTH characters. A quoted text stays on one line."""
    lines = [" "]
    for word in re.findall(r'(?:[^\s"]|"[^"]*")+', command):
        if len(lines[-1]) + len(word) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def _line(setting: Setting) -> str:
    """A setting in help: name, meaning and default."""
    default = f" [{setting.default}]" if setting.default else ""
    body = _filled(setting.meaning + default, " " * INDENT)
    head = f"  {setting.name}"
    return head.ljust(INDENT) + body[INDENT:] if len(head) < INDENT else f"{head}\n{body}"


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def _groups(text: str, title: str, prefix: str = "") -> list[SettingGroup]:
    """Groups of a YAML text: a line with only a comment is the title of the settings below it."""
    groups: list[tuple[str, list[Setting]]] = [(title, [])]
    for item in _lines(text):
        if isinstance(item, str):
            groups.append((item, []))
        elif prefix + item.name not in HIDDEN:
            groups[-1][1].append(replace(item, name=prefix + item.name))
    return [SettingGroup(title, tuple(settings)) for title, settings in groups]


def _lines(text: str) -> Iterator[str | Setting]:
    """Titles and settings of a YAML text, without Hydra's parts. The comment on its first line is no title."""
    parents: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.startswith(("defaults:", "hydra:")):
            parents = ["-"]
        elif line.startswith("# ") and number and "@package" not in line:
            yield line.removeprefix("# ").strip()
        elif match := re.match(r"^( *)([\w/]+):(?: +([^#\n]*?))?(?: +# *(.*))?$", line):
            indent, name, default, meaning = match.groups()
            depth = len(indent) // 2
            if parents[:1] == ["-"] and depth:
                continue
            parents = [*parents[:depth], name]
            if default:
                yield Setting(".".join(parents), _default(default), meaning or "")


def _default(written: str) -> str:
    """A default as help shows it."""
    if re.fullmatch(r"\$\{backbone\.paper\.\w+\}", written):
        return PAPER
    return "" if written in ("null", '""') else re.sub(r"\$\{backbone\.(\w+)\}", lambda key: PLACES[key[1]], written)
