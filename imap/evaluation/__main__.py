"""Scores of runs: imap score COMMAND, or python -m imap.evaluation COMMAND."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from imap.errors import ImapError

COMMANDS = {  # a module of imap.evaluation.commands with add_arguments(parser) and run(arguments); its line in --help
    "prepare": "cut a data set to clips with ground truth, and write the list that imap renoise reads",
    "run": "score every map of runs against the ground truth of their clips",
    "judge": "Motion Localization Score: a vision language model grades the maps of runs",
    "segment": "zero-shot video semantic segmentation: mIoU and mVC of runs",
    "report": "write scores of runs as a page, worst first, and curves as figures",
    "table": "print scores of runs as a table: text, CSV, Markdown or LaTeX",
}


def main(argv: Sequence[str] | None = None, program: str = "python -m imap.evaluation") -> None:
    """Run a command. program: name in usage lines."""
    parser = argparse.ArgumentParser(prog=program, description="Scores of the maps of finished runs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        module = import_module(f"imap.evaluation.commands.{name}")
        one = commands.add_parser(
            name, help=line, description=module.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except ImapError as error:
        sys.exit(f"imap: error: {error}")


if __name__ == "__main__":
    main()
