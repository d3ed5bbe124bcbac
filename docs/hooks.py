"""Hooks of mkdocs: the settings page comes from the comments of the configuration files."""

import re
from typing import Any

from imap.cli.help import backbones, setting_groups
from imap.config.presets import Preset, presets

COMMANDS = {  # configuration: its command
    "sampling": "imap sample",
    "renoising": "imap renoise",
    "figures": "imap figures NAME",
    "shapes_train": "imap shapes train",
    "shapes_benchmark": "imap shapes benchmark",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the markers of the settings page."""
    if page.file.src_uri != "reference/settings.md":
        return markdown
    return markdown.replace("<!-- settings -->", settings()).replace("<!-- backbones -->", backbone_table())


def settings() -> str:
    """Tables of the settings of every command."""
    parts = []
    for config_name, command in COMMANDS.items():
        parts.append(f"## {command} {{#{config_name}}}")
        for group in setting_groups(config_name):
            anchor = re.sub(r"\W+", "-", f"{config_name} {group.title}".lower())
            rows = [f"| `{x.name}` | {_code(x.default)} | {_escaped(x.meaning)} |" for x in group.settings]
            head = [f"### {group.title} {{#{anchor}}}", "", "| setting | default | meaning |", "|---|---|---|"]
            parts.append("\n".join(head + rows))
    return "\n\n".join(parts)


def backbone_table() -> str:
    """Table of the backbones with their defaults, the published ones first."""
    head = [
        "`backbone=`",
        "frames x height x width",
        "steps",
        "`renoise_timestep`",
        "`imap_layer`",
        "k/heads",
        "target",
    ]
    rows = [f"| `{name}` | {_defaults(presets()[name])} |" for name in backbones("sampling")]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows])


def _defaults(preset: Preset) -> str:
    """Cells of a backbone's row."""
    paper = preset.paper
    cells = (
        f"{paper['num_frames']}x{paper['height']}x{paper['width']}",
        paper["num_inference_steps"],
        _ranges(paper["renoise_timestep"]),
        _ranges(paper["imap_layer"]),
        f"{paper['imap_sep_topk']}/{preset.num_heads}",
        paper["imap_qk_matching_target"],
    )
    return " | ".join(map(str, cells))


def _ranges(numbers: Any) -> str:
    """Numbers as ranges, such as 1-5, 7-21, 23."""
    if not isinstance(numbers, list):
        return str(numbers)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    """Plain text as Markdown. Braces become code: as text, Markdown takes them for attributes and drops them."""
    parts = re.split(r"(\{[^}]*\})", text.replace("|", "\\|"))
    return "".join(f"`{x}`" if x.startswith("{") else re.sub(r"([*_<\[\]])", r"\\\1", x) for x in parts)
