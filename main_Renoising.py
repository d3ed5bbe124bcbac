"""Read the maps of real clips: python main_Renoising.py [setting=value ...], the same as `imap renoise`."""

import sys

from imap.cli.main import main

if __name__ == "__main__":
    main(["renoise", *sys.argv[1:]], program="python main_Renoising.py")
