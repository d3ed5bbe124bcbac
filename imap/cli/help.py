"""The settings of a command, grouped and explained by the comments of its configuration files."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imap.config.presets import config_folder

EXAMPLE_BACKBONE = "cogvideox_5b"  # whose settings are listed; the others have the same
WIDTH, INDENT = 100, 30  # characters
EXAMPLES = {
    "sampling": (
        "",
        'backbone=cogvideox_5b prompt="A horse gallops across a field." concepts="horse, field" motions=gallops',
        "backbone=wan2_1_14b input_json=prompts.json output_dir=outputs/prompts",
        "--cfg job",
    ),
    "renoising": (
        "",
        'backbone=cogvideox_5b video_path=horse.mp4 prompt="A horse gallops." concepts=horse motions=gallops',
        "backbone=wan2_1_14b input_json=clips.json video.resize=crop video.frames=uniform",
        "--cfg job",
    ),
    "figures": ("", "backbone=cogvideox_5b video_path=horse.mp4 prompt='A horse gallops.' motions=gallops"),
    "shapes_train": ("backbone=shapes_wan", "backbone=shapes_wan denoiser.steps=100 output_dir=outputs/try"),
    "shapes_benchmark": ("backbone=shapes_cogvideox", "backbone=shapes_wan split=dev-2 clips=10"),
}
HIDDEN = ("backbone.name", "backbone.family", "backbone.num_layers", "backbone.num_heads")  # not for users to set


@dataclass(frozen=True)
class Setting:
    """A setting: its dotted name, its default as written in the configuration, and what it means."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class SettingGroup:
    """Settings under one title."""

    title: str
    settings: tuple[Setting, ...]


def setting_groups(config_name: str) -> list[SettingGroup]:
    """All settings of a command in the order of its configuration files. config_name: of a file in configs/."""
    folder = config_folder()
    text = (folder / f"{config_name}.yaml").read_text(encoding="utf-8")
    chosen = dict(re.findall(r"(?m)^  - (\w+): (\w+)$", text))
    groups = _groups(text, "Settings")
    if "method" in chosen:
        groups += _groups((folder / "method" / f"{chosen['method']}.yaml").read_text(encoding="utf-8"), "Maps")
    if config_name != "shapes_train":
        model = (folder / "backbone" / f"{EXAMPLE_BACKBONE}.yaml").read_text(encoding="utf-8")
        groups += _groups(model.partition("\npaper:")[0], "Model", "backbone.")
    return [group for group in groups if group.settings]


def backbones(config_name: str) -> list[str]:
    """Backbones that a command takes, the real ones first."""
    names = [path.stem for path in sorted((config_folder() / "backbone").glob("*.yaml"))]
    small = [name for name in names if name.startswith("shapes_")]
    if config_name.startswith("shapes_"):
        return small
    tiny = [name for name in names if name.startswith("tiny_")]
    return [*(name for name in names if name not in (*small, *tiny)), *small, *tiny]


def manual(config_name: str, program: str, about: str) -> str:
    """The text of a command's --help."""
    usage = f"usage: {program} [setting=value ...]"
    examples = "\n".join(f"  {program} {example}".rstrip() for example in EXAMPLES[config_name])
    default = _default_backbone(config_name)
    models = textwrap.fill(
        f"backbone={default} (default), or one of {', '.join(x for x in backbones(config_name) if x != default)}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
    )
    parts = [f"{usage}\n\n{textwrap.dedent(about).strip()}", f"examples:\n{examples}", f"backbones:\n{models}"]
    for group in setting_groups(config_name):
        parts.append("\n".join([f"{group.title}:", *map(_line, group.settings)]))
    parts.append(
        "[paper] marks defaults that the paper sets for the backbone. Texts are taken as typed. "
        "--cfg job prints\nall values that would run; --hydra-help lists Hydra's own flags."
    )
    return "\n\n".join(parts)


def _line(setting: Setting) -> str:
    default = f"[{setting.default}]" if setting.default else ""
    head = f"  {setting.name}".ljust(INDENT)
    first = "" if len(head) <= INDENT else f"{head.rstrip()}\n"
    body = textwrap.fill(
        f"{setting.meaning} {default}".strip(), WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT
    )
    return first + body if first else head + body[INDENT:]


def _default_backbone(config_name: str) -> str:
    text = (config_folder() / f"{config_name}.yaml").read_text(encoding="utf-8")
    return re.search(r"(?m)^  - backbone: (\w+)$", text).group(1)  # type: ignore[union-attr]


def _groups(text: str, title: str, prefix: str = "") -> list[SettingGroup]:
    """Groups of a YAML text: a comment line of its own is the title of the settings below it."""
    groups: list[tuple[str, list[Setting]]] = [(title, [])]
    for kind, value in _lines(text):
        if isinstance(value, Setting):
            name = prefix + value.name
            if name not in HIDDEN:
                groups[-1][1].append(Setting(name, value.default, value.meaning))
        elif kind == "title":
            groups.append((value, []))
    return [SettingGroup(title, tuple(settings)) for title, settings in groups]


def _lines(text: str) -> Iterator[tuple[str, "str | Setting"]]:
    """Titles and settings of a YAML text, without Hydra's own parts. The comment on its first line is no title."""
    parents: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.startswith(("defaults:", "hydra:")):
            parents = ["-"]
        elif line.startswith("# ") and number and "@package" not in line:
            yield "title", line.removeprefix("# ").strip()
        elif match := re.match(r"^( *)([\w/]+):(?: +([^#\n]*?))?(?: +# *(.*))?$", line):
            indent, name, default, meaning = match.groups()
            depth = len(indent) // 2
            if parents[:1] == ["-"] and depth:
                continue
            parents = [*parents[:depth], name]
            if default:
                yield "setting", Setting(".".join(parents), _default(default), meaning or "")


def _default(written: str) -> str:
    """A default as help shows it."""
    if re.fullmatch(r"\$\{backbone\.paper\.\w+\}", written):
        return "paper"
    return "" if written in ("null", '""') else written


def config_files() -> list[Path]:
    """Configuration files of commands, for the documentation."""
    return [config_folder() / f"{name}.yaml" for name in EXAMPLES]
