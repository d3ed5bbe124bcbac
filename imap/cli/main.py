"""The command line: text as a person types it, and errors in one line."""

import inspect
import sys
from collections.abc import Callable, Sequence

from imap.cli.help import manual
from imap.cli.overrides import check_overrides, literal
from imap.errors import ImapError

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
