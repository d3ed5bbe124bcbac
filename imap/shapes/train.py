"""python -m imap.shapes.train: the same as `imap shapes train`."""

import sys

from imap.cli.commands import train

if __name__ == "__main__":
    train(sys.argv[1:], "python -m imap.shapes.train")
