"""python -m imap: the `imap` command."""

from imap.cli.main import main

if __name__ == "__main__":
    main()
