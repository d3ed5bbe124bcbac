"""python -m imap.shapes.train: the same as `imap shapes train`."""

import sys

from imap.cli.main import main

if __name__ == "__main__":
    main(["shapes", "train", *sys.argv[1:]], program="python -m imap.shapes.train")
