"""E-mail over SMTP, a connection for each message."""

import asyncio
from collections.abc import Mapping

import aiosmtplib
import structlog

from ems_streams.channels.secrets import secret_of
from ems_streams.channels.sender import failure, tls_context
from ems_streams.domain.channel_config import EmailChannel, MailSecurity
from ems_streams.domain.deliveries import Message, Outcome
from ems_streams.domain.mail_message import mail_of

log = structlog.get_logger(__name__)

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
        try:
            async with asyncio.timeout(channel.timeout_s):
                refused, _ = await aiosmtplib.send(
                    mail,
                    hostname=channel.host,
                    port=channel.smtp_port,
                    username=channel.username,
                    password=self._password,
                    use_tls=channel.security is MailSecurity.TLS,
                    start_tls=channel.security is MailSecurity.STARTTLS,
                    tls_context=self._tls,
                    timeout=channel.timeout_s,
                )
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
            log.warning("recipients_refused", channel=self._name, message_id=message.message_id, recipients=sorted(refused))
        return Outcome(delivered=True)

    async def close(self) -> None:
        """Nothing is kept open."""
