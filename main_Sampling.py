"""Sample videos with their maps: python main_Sampling.py [setting=value ...], the same as `imap sample`."""

import sys

from imap.cli.main import main

if __name__ == "__main__":
    main(["sample", *sys.argv[1:]], program="python main_Sampling.py")
