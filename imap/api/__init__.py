"""The public functions, which `imap` names: `calls` read a pipeline call, `clips` read a real clip."""
