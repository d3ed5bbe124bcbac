"""Settings as typed on the command line: texts are literal, mistakes are found before Hydra composes."""

import difflib
import re
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imap.config.presets import config_folder
from imap.errors import ImapError, brief, first_line

TEXTS = ("prompt", "negative_prompt", "concepts", "motions", "video_path", "image", "last_image", "input_json")
TEXTS += ("output_dir", "backbone.path", "backbone.transformer", "backbone.transformer_2")

LISTED = 6  # names in an error


def literal(argument: str) -> str:
    """Quote a `name=text` argument so that Hydra returns the same text. Other arguments stay as they are."""
    name, equals, text = argument.partition("=")
    if not equals or name.lstrip("+") not in TEXTS or text in ("", "null"):
        return argument
    # first for OmegaConf, which reads ${...} as a reference; then for Hydra, which ends the text at a quote
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    text = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + ('\\"' if match[2] else ""), text)
    return f'{name}="{text}"'


def _advice(name: str, value: str, choices: Sequence[str]) -> str:
    """Which values of a group there are: all of a few, else those that are like the one that was typed."""
    if len(choices) <= LISTED:
        return f"choose from {', '.join(choices)}"
    like = difflib.get_close_matches(value, choices, LISTED, cutoff=0.3) or choices[:LISTED]
    return f"nearest are {', '.join(like)}; imap {name}s lists all {len(choices)}"


def check_overrides(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Check settings before Hydra composes them.

    Args:
        config_name: of a file in configs/.
        overrides: settings, after `literal`.

    Returns:
        The composed configuration, with all references resolved.

    Raises:
        ImapError: in one line, with a suggestion.
    """
    groups = {
        path.name: sorted(x.stem for x in path.glob("*.yaml")) for path in config_folder().iterdir() if path.is_dir()
    }
    for override in overrides:
        name, _, value = override.partition("=")
        choices = groups.get(name)
        if choices and value not in choices and (name, value) != ("experiment", "null"):
            raise ImapError(f"unknown {name} {brief(value)}; {_advice(name, value, choices)}")
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(config_name)
            names = _names(config)
            for override in overrides:
                if "=" not in override and not override.startswith("~"):
                    raise ImapError(
                        f'cannot read {brief(override)}; write name=value, and texts as prompt="a red ball"'
                    )
                name = override.partition("=")[0].lstrip("+~")
                if name not in names and not name.startswith("hydra"):
                    near = difflib.get_close_matches(name, names, 1)
                    hint = f"did you mean {near[0]}?" if near else "--help lists all settings"
                    if config_name == "sampling" and name in _names(compose("renoising")):
                        hint = "it is a setting of imap renoise (main_Renoising.py)"
                    raise ImapError(f"unknown setting {brief(name)}; {hint}")
                if override.startswith("~"):
                    raise ImapError(
                        f"{override} removes a setting, but the command needs all of them; set a value instead"
                    )
                _check_grammar(override)
            config = compose(config_name, list(overrides))
            OmegaConf.resolve(config)
            return config
    except (HydraException, OmegaConfBaseException) as error:
        reason = first_line(error)
        hint = "; write a list as name=[1,2]" if reason.startswith("Ambiguous value") else ""
        raise ImapError(reason + hint) from None


def setting_names(config_name: str) -> list[str]:
    """Dotted names of all settings of a command, and of Hydra's groups. config_name: of a file in configs/."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return _names(compose(config_name))


def _check_grammar(override: str) -> None:
    try:
        OverridesParser.create().parse_override(override)
    except (HydraException, ValueError, RecursionError) as error:  # Python reads no number of thousands of digits
        raise ImapError(f"cannot read {brief(override)}: {first_line(error)}; write it as name=value") from None


def _names(config: DictConfig, prefix: str = "") -> list[str]:
    """Dotted names of all settings, and of Hydra's groups."""
    names = ["experiment", "method", "video"] if not prefix else []
    for key, value in config.items_ex(resolve=False):
        names.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            names += _names(value, f"{prefix}{key}.")
    return names
