"""python -m imap.figures NAME: the same as `imap figures NAME`."""

import sys

from imap.cli.commands import figures

if __name__ == "__main__":
    figures(sys.argv[1:], "python -m imap.figures")
