"""E-mail over SMTP, a connection for each message."""

import asyncio
import contextlib
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Final

import aiosmtplib
import structlog

from ems_streams.channels.secrets import secret_of
from ems_streams.channels.sender import failure, tls_context
from ems_streams.domain.channel_config import EmailChannel, MailSecurity
from ems_streams.domain.deliveries import Message, Outcome
from ems_streams.domain.mail_message import mail_of

log = structlog.get_logger(__name__)

_GOODBYE_S: Final = 2.0
_FOR_GOOD = frozenset({550, 551, 552, 553, 554})


class MailSender:
    """Sends by one SMTP server.

    Args:
        name: Of the channel.
        channel: Of the file.
        environ: Variables, with the password among them if there is one; must have been checked.
    """

    def __init__(self, name: str, channel: EmailChannel, environ: Mapping[str, str]) -> None:
        self._name = name
        self._channel = channel
        self._password = None if channel.password_env is None else secret_of(environ, channel.password_env)
        self._tls = None if channel.security is MailSecurity.NONE else tls_context(channel)

    async def send(self, message: Message, now_s: float) -> Outcome:
        """One e-mail to all recipients.

        What the server refuses for good (5yz) is not tried again, except when it refuses the login: that is a setting, and messages must not get lost by it.
        When it takes some recipients and not others, the message counts as delivered: the former must not get it twice.
        """
        channel = self._channel
        mail = mail_of(message, self._name, channel.sender, channel.to)
        server = aiosmtplib.SMTP(
            hostname=channel.host,
            port=channel.smtp_port,
            username=channel.username,
            password=self._password,
            use_tls=channel.security is MailSecurity.TLS,
            start_tls=channel.security is MailSecurity.STARTTLS,
            tls_context=self._tls,
            timeout=channel.timeout_s,
        )
        try:
            outcome = await self._deliver(server, mail)
            if outcome.delivered:
                await _say_goodbye(server)
        finally:
            server.close()
        return outcome

    async def _deliver(self, server: aiosmtplib.SMTP, mail: EmailMessage) -> Outcome:
        channel = self._channel
        try:
            async with asyncio.timeout(channel.timeout_s):
                await server.connect()
                refused, _ = await server.send_message(mail)
        except TimeoutError:
            return failure(f"no answer within {channel.timeout_s:g} s", "TimeoutError")
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [each.code for each in error.recipients]
            text = "; ".join(f"{each.recipient}: {each.code} {each.message}" for each in error.recipients)
            return failure(text, "recipients_refused", permanent=all(code >= 500 for code in codes))
        except aiosmtplib.SMTPResponseException as error:
            permanent = error.code in _FOR_GOOD and not isinstance(error, aiosmtplib.SMTPAuthenticationError | aiosmtplib.SMTPConnectError)
            return failure(f"{error.code} {error.message}", f"smtp_{error.code}", permanent=permanent)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return failure(error)
        if refused:
            log.warning("recipients_refused", channel=self._name, message_id=mail["Message-ID"], recipients=sorted(refused))
        return Outcome(delivered=True)

    async def close(self) -> None:
        """Nothing is kept open."""


async def _say_goodbye(server: aiosmtplib.SMTP) -> None:
    """What a server that has taken a message says to that changes nothing: one that hangs must not get it again."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        await server.quit(timeout=_GOODBYE_S)
