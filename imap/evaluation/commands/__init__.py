"""The commands of imap score, one module each. They import what is heavy in `run`."""
