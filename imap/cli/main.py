"""The `imap` command. It loads nothing heavy before a command is chosen."""

import difflib
import sys
from collections.abc import Callable, Sequence

COMMANDS = {  # name: module of imap.cli and function, one line of help
    "sample": ("commands:sample", "sample videos from prompts, with a saliency map per word and frame"),
    "renoise": ("commands:renoise", "read the maps of real clips, one forward pass each"),
    "view": ("commands:view", "draw overlays, strips and the report page of a finished run"),
    "figures": ("commands:figures", "draw a figure of the paper: NAME is teaser, methods, heads ..."),
    "shapes": ("commands:shapes", "the embedded world: render clips, train small models, benchmark maps"),
}
HELP = """imap shows which pixels of which frames a word refers to, in a generated or a real video.

usage: imap COMMAND [setting=value ...]

commands:
{commands}

examples:
  imap sample                                 a small trained model, on a CPU, in seconds
  imap sample backbone=cogvideox_5b prompt="A horse gallops across a field." concepts="horse, field" motions=gallops
  imap renoise backbone=wan2_1_14b video_path=horse.mp4 prompt="A horse gallops." concepts=horse motions=gallops
  imap view outputs/sampling/shapes_wan --normalization percentile

imap COMMAND --help lists the settings of a command. imap --version prints the version.
"""


def main(argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run the command line.

    Args:
        argv: command and settings; None takes them from the process.
        program: name in usage lines, for scripts that run one command; None is `imap COMMAND`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(overview(), end="")
    elif name in ("-V", "--version"):
        from imap import __version__

        print(f"imap {__version__}")
    elif name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean imap {near[0]}?" if near else f"; commands are {', '.join(COMMANDS)}"
        print(f"imap: error: unknown command {name!r}{hint}", file=sys.stderr)
        sys.exit(2)
    else:
        _function(COMMANDS[name][0])(arguments[1:], program or f"imap {name}")


def overview() -> str:
    """The text of `imap --help`."""
    return HELP.format(commands="\n".join(f"  {name:<10} {line}" for name, (_, line) in COMMANDS.items()))


def _function(place: str) -> Callable[[Sequence[str], str], None]:
    from importlib import import_module

    module, _, name = place.partition(":")
    return getattr(import_module(f"imap.cli.{module}"), name)


if __name__ == "__main__":
    main()
