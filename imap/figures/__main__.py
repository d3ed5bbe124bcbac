"""python -m imap.figures NAME: the same as `imap figures NAME`."""

import sys

from imap.cli.main import main

if __name__ == "__main__":
    main(["figures", *sys.argv[1:]], program="python -m imap.figures")
