"""Hooks of mkdocs: the settings page comes from the comments of the configuration files."""

from typing import Any

from imap.cli.help import setting_groups
from imap.config.presets import presets

COMMANDS = {
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
    return markdown.replace("<!-- settings -->", settings()).replace("<!-- backbones -->", backbones())


def settings() -> str:
    """Tables of every command's settings."""
    parts = []
    for config_name, command in COMMANDS.items():
        parts.append(f"## {command}")
        for group in setting_groups(config_name):
            rows = [f"| `{x.name}` | {_code(x.default)} | {_escaped(x.meaning)} |" for x in group.settings]
            parts.append(
                "\n".join([f"### {group.title}", "", "| setting | default | meaning |", "|---|---|---|", *rows])
            )
    return "\n\n".join(parts)


def backbones() -> str:
    """Table of the backbones and the paper's settings for them."""
    rows = ["| `backbone=` | family | steps | size | `imap_layer` | target |", "|---|---|---|---|---|---|"]
    for name, preset in presets().items():
        paper = preset.paper
        size = f"{paper['num_frames']}x{paper['height']}x{paper['width']}"
        layers, target = _layers(paper["imap_layer"]), paper["imap_qk_matching_target"]
        rows.append(f"| `{name}` | {preset.family} | {paper['num_inference_steps']} | {size} | {layers} | {target} |")
    return "\n".join(rows)


def _layers(layers: Any) -> str:
    """Layers as ranges, such as 1-5, 7-21, 23."""
    if not isinstance(layers, list):
        return str(layers)
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
