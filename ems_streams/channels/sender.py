"""What a channel sends by: one attempt at one message, with a deadline, and what came of it."""

import ssl
from typing import Protocol

from ems_streams.domain.channel_config import ChannelBase
from ems_streams.domain.deliveries import Message, Outcome

ERROR_MAX_CHARS = 300


class Sender(Protocol):
    """Makes attempts; several may be under way."""

    async def send(self, message: Message, now_s: float) -> Outcome:
        """One attempt, within the channel's deadline; what fails is an outcome and no error.

        Args:
            now_s: Time in seconds since 1970.
        """
        ...

    async def close(self) -> None:
        """Give connections up."""
        ...


def failure(error: BaseException | str, error_class: str = "", *, permanent: bool = False, retry_after_s: float | None = None) -> Outcome:
    """An outcome that is none, in one bounded line."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}".rstrip(": ")
    line = " ".join(text.split())[:ERROR_MAX_CHARS]
    name = error_class or (type(error).__name__ if isinstance(error, BaseException) else "failed")
    return Outcome(delivered=False, error=line, error_class=name, permanent=permanent, retry_after_s=retry_after_s)


def tls_context(channel: ChannelBase) -> ssl.SSLContext:
    """Certificates are checked, against `ca_file` if there is one."""
    return ssl.create_default_context(cafile=channel.ca_file)
