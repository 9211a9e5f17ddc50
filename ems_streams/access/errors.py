"""Why somebody is not let in."""


class DeniedError(Exception):
    """A token, JWT or session that does not count.

    Args:
        reason: In one word, for the audit log and the metrics: `unknown`, `expired`, `malformed` and the like.
        detail: For whoever has shown it; says nothing that helps to make one.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class KeysAwayError(Exception):
    """The keys that a JWT could be checked by cannot be had at the moment."""
