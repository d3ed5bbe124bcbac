"""python -m imap.shapes.benchmark: the same as `imap shapes benchmark`."""

import sys

from imap.cli.commands import benchmark

if __name__ == "__main__":
    benchmark(sys.argv[1:], "python -m imap.shapes.benchmark")
