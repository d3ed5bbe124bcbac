"""The `imap` command."""
