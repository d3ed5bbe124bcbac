"""python -m imap.shapes.benchmark: the same as `imap shapes benchmark`."""

import sys

from imap.cli.main import main

if __name__ == "__main__":
    main(["shapes", "benchmark", *sys.argv[1:]], program="python -m imap.shapes.benchmark")
