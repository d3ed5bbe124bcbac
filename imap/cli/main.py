"""The `imap` command. It loads nothing heavy before a command is chosen."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from imap.runs.interrupts import ends_on_signals

COMMANDS = {  # name: its line in --help; imap.cli.commands has a function of the same name
    "sample": "sample videos from prompts, with a saliency map per word and frame",
    "renoise": "read the maps of real clips, one forward pass each",
    "submit": "run a list as an array of SLURM jobs, requeued when they are preempted",
    "backbones": "the models that imap knows; check whether another checkpoint can be traced",
    "demo": "a web page: words and a prompt or a clip in, maps out",
    "view": "draw overlays, strips and the report page of a finished run",
    "status": "how far runs are: done, failed, in work, left, and the time that remains",
    "gather": "join the output folders of shards into one, with one report",
    "score": "score maps against ground truth, by data set; segmentation; a judge; tables",
    "figures": "draw a figure of the paper: NAME is teaser, methods, heads ...",
    "shapes": "the embedded world: render clips, train small models, benchmark maps",
}
HELP = """imap shows which pixels of which frames a word refers to, in a generated or a real video.

usage: imap COMMAND [setting=value ...]

commands:
{commands}

examples:
  imap sample                      the built-in example: a small trained model, seconds on a CPU
  imap sample backbone=cogvideox_5b prompt="A horse gallops." concepts=horse motions=gallops
  imap renoise backbone=wan2_1_14b video_path=horse.mp4 prompt="A horse gallops." motions=gallops
  imap view outputs/sampling/shapes_wan --normalization percentile

imap COMMAND --help lists the settings of a command. imap --version prints the version.
"""


def main(argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run the command line.

    Args:
        argv: command and settings; None takes them from the process.
        program: name in usage lines, for scripts that run one command; None is `imap COMMAND`.
    """
    try:
        with ends_on_signals():
            _run(sys.argv[1:] if argv is None else list(argv), program)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of `imap ... | head` has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str], program: str | None) -> None:
    name, *arguments = argv or ["--help"]
    if name in ("-h", "--help", "help"):
        print(overview(), end="")
    elif name in ("-V", "--version"):
        from imap import __version__

        print(f"imap {__version__}")
    elif name in COMMANDS:
        command: Callable[[Sequence[str], str], None] = getattr(import_module("imap.cli.commands"), name)
        command(arguments, program or f"imap {name}")
    else:
        exit_unknown("command", name, COMMANDS, "imap")


def overview() -> str:
    """The text of `imap --help`."""
    return HELP.format(commands="\n".join(f"  {name:<10} {line}" for name, line in COMMANDS.items()))


def exit_unknown(kind: str, name: str, known: Iterable[str], program: str) -> None:
    """End the process with one line that suggests a known name, and status 2.

    Args:
        kind: what the name should be, such as `command`.
        name: as typed.
        known: names to choose from.
        program: what comes before the name on the command line.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {program} {near[0]}?" if near else f"choose from {', '.join(names)}"
    print(f"imap: error: unknown {kind} {name!r}; {hint}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
