"""The settings of a command, with the comments of their configuration files."""

import re

from imap.config.presets import config_folder


def manual(config_name: str, program: str, about: str) -> str:
    """The settings of a door with the comments of their configuration files, which say what each is for."""
    folder = config_folder()
    backbones = [path.stem for path in sorted((folder / "backbone").glob("*.yaml"))]
    door = (folder / f"{config_name}.yaml").read_text(encoding="utf-8")
    groups = dict(re.findall(r"(?m)^  - (\w+): (\w+)$", door))
    own = [name for name in backbones if name.startswith("shapes_")] if "method" not in groups else backbones
    shown = groups["backbone"] if "method" not in groups else "cogvideox_5b"
    settings = re.sub(r"(?s)^(#[^\n]*\n)defaults:.*?\n\n|\nhydra:.*", "", door)
    parts = [
        about,
        f"Usage: python {program} [setting=value ...]",
        f"Backbones: {', '.join(own)}",
        f"${{...}} names the setting whose value is taken. With no argument: backbone={groups['backbone']}"
        + (", its own prompt or clips." if "method" in groups else "."),
        f"SETTINGS\n{settings}",
    ]
    if "method" in groups:
        method = (folder / "method" / f"{groups['method']}.yaml").read_text(encoding="utf-8")
        parts.append("METHOD\n" + method.partition("\n")[2])
    backbone = (folder / "backbone" / f"{shown}.yaml").read_text(encoding="utf-8")
    parts.append(f"BACKBONE, as an example backbone={shown}; set its values as backbone.dtype=float32\n{backbone}")
    return "\n\n".join([*parts, "Hydra's own flags (--cfg job prints the values that would run): --hydra-help"])
