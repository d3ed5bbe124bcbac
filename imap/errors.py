"""The one error a user of imap meets: what was expected, what came, what to do next."""


class ImapError(ValueError):
    """A request that cannot be met. The message is one line that a user can act on."""
