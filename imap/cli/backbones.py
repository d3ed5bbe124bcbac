"""`imap backbones`: the models that imap knows, and whether another checkpoint can be traced."""

import logging
import warnings
from collections.abc import Sequence

from imap.cli.main import exit_unknown
from imap.errors import ImapError, brief
from imap.runs.interrupts import uninterrupted
from imap.runs.log import errors_in_one_line, plain_log

HELP = """usage: {program} [check FOLDER_OR_ID]

List the models that imap has a configuration for: checkpoint, family, blocks x heads, default size, and where the
layers of its maps come from.

  check FOLDER_OR_ID   whether and how another checkpoint can be traced

{program} check --help says more.
"""
CHECK_HELP = """usage: {program} FOLDER_OR_ID

Say whether and how imap would trace a checkpoint in diffusers format. It reads the small JSON files only, loads no
weights and runs nothing. The exit status is 0 if the checkpoint can be traced, and 1 if not.

  FOLDER_OR_ID   folder with a model_index.json, or id of a checkpoint on the model hub

examples:
  {program} Wan-AI/Wan2.1-T2V-14B-Diffusers
  {program} outputs/shapes/wan/pipeline
"""


def main(argv: Sequence[str], program: str = "imap backbones") -> None:
    """List models, or check a checkpoint. program: name in usage lines."""
    if not argv:
        with errors_in_one_line():
            with uninterrupted():
                from imap.runs.backbone_table import table

            print(table())
    elif argv[0] in ("-h", "--help"):
        print(HELP.format(program=program), end="")
    elif argv[0] == "check":
        check(argv[1:], f"{program} check")
    else:
        exit_unknown("action", argv[0], ["check"], program)


def check(argv: Sequence[str], program: str) -> None:
    """Print how a checkpoint would be traced, or exit with one line that says why not, and status 1."""
    if {"-h", "--help"} & set(argv):
        print(CHECK_HELP.format(program=program), end="")
        return
    plain_log()
    with errors_in_one_line():
        if len(argv) != 1 or argv[0].startswith("-"):
            raise ImapError(f"{program} takes one folder or hub id, and got {brief(' '.join(argv))}")
        with uninterrupted():  # a library whose import is cut by an exception may ignore it and fail later
            from imap.runs.inspection import as_text, inspect_checkpoint

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # without a network it warns at every attempt
        warnings.simplefilter("ignore")
        print(as_text(inspect_checkpoint(argv[0])))
