"""Every family that imap reads, checked against its stock pipeline. `__main__` is the command."""
