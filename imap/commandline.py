"""The command line of both doors: text as a person types it, and errors in one line."""

import difflib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imap.errors import ImapError
from imap.presets import config_folder

# flags of Hydra that make sense for the doors; each comes before any value of its own
HYDRA_FLAGS = (
    "--hydra-help",
    "--version",
    "--cfg",
    "-c",
    "--resolve",
    "--info",
    "-i",
    "--multirun",
    "-m",
    "--run",
    "-r",
)
TEXTS = ("prompt", "negative_prompt", "concepts", "motions", "video_path", "input_json", "output_dir", "backbone.path")


def main(
    run: Callable[[], None], config_name: str, program: str, argv: Sequence[str] | None = None, about: str | None = None
) -> None:
    """Run a hydra.main function on the command line, with texts taken literally and errors in one line each.

    program: what stands behind `python` when it is called. about: what --help says of it, if not the docstring of run.
    """
    arguments = [literal(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    if {"--help", "-h"} & set(arguments):
        print(manual(config_name, program, about or inspect.getdoc(run) or ""))
        return
    try:
        for flag in arguments:
            if flag.startswith("-") and flag.partition("=")[0] not in HYDRA_FLAGS:
                raise ImapError(f"unknown flag {flag}; settings are written name=value, such as height=480")
        if not any(argument.startswith("-") for argument in arguments):
            check_overrides(config_name, arguments)
        sys.argv[1:] = arguments
        run()
    except ImapError as error:
        sys.exit(f"imap: error: {error}")
    except KeyboardInterrupt:
        sys.exit("imap: interrupted; run the same command again to go on")


def plain_log() -> None:
    """The log of a command: bare lines of our own, and of the libraries only their errors."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "diffusers", "transformers", "fontTools", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Leave the process with one line for an ImapError in a hydra.main function: Hydra would make a page of it."""
    try:
        yield
    except ImapError as error:
        sys.exit(f"imap: error: {error}")


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


def literal(argument: str) -> str:
    """A `name=text` argument so that Hydra's override grammar gives the very text back; others as they are."""
    name, equals, text = argument.partition("=")
    if not equals or name.lstrip("+") not in TEXTS or text in ("", "null"):
        return argument
    # OmegaConf first: it would take ${...} for a reference. Then Hydra: it ends the text at a quote.
    text = re.sub(r"(\\*)\$\{", lambda found: found.group(1) * 2 + r"\${", text)
    text = re.sub(r'(\\*)("|$)', lambda found: found.group(1) * 2 + ('\\"' if found.group(2) else ""), text)
    return f'{name}="{text}"'


def check_overrides(config_name: str, overrides: Sequence[str]) -> None:
    """Raise ImapError, in one line, for overrides that Hydra cannot compose."""
    groups = {
        path.name: sorted(x.stem for x in path.glob("*.yaml")) for path in config_folder().iterdir() if path.is_dir()
    }
    for override in overrides:
        name, _, value = override.partition("=")
        known = groups.get(name)
        if known and value not in known and (name, value) != ("experiment", "null"):
            raise ImapError(f"unknown {name} {value!r}; known are {', '.join(known)}")
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose(config_name)
            names = _names(config)
            for override in overrides:
                if "=" not in override and not override.startswith("~"):
                    raise ImapError(f'cannot read {override!r}; write name=value, and texts as prompt="a red ball"')
                name = override.partition("=")[0].lstrip("+~")
                if name not in names and not name.startswith("hydra"):
                    near = difflib.get_close_matches(name, names, 1)
                    hint = f"; did you mean {near[0]}?" if near else "; --help lists them"
                    if config_name == "sampling" and name in _names(compose("renoising")):
                        hint = "; it is one of main_Renoising.py"
                    raise ImapError(f"unknown setting {name!r}{hint}")
                if override.startswith("~"):
                    raise ImapError(f"{override} would take a setting away; the doors need every one, set it instead")
                _check_grammar(override)
            OmegaConf.resolve(compose(config_name, list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).strip().splitlines()[0]
        hint = "; write a list as name=[1,2]" if reason.startswith("Ambiguous value") else ""
        raise ImapError(reason + hint) from None


def _check_grammar(override: str) -> None:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise ImapError(f"cannot read {override}: {str(error).splitlines()[0]}; write it as name=value") from None


def _names(config: DictConfig, prefix: str = "") -> list[str]:
    found = ["experiment", "method", "video"] if not prefix else []
    for key, value in config.items_ex(resolve=False):
        found.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            found += _names(value, f"{prefix}{key}.")
    return found
