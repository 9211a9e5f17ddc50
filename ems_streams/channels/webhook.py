"""Webhooks: a signed POST. Redirects are not followed, since whoever is behind them was not meant to be told."""

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp

from ems_streams.channels.secrets import secret_of
from ems_streams.channels.sender import failure, tls_context
from ems_streams.domain.channel_config import WebhookChannel
from ems_streams.domain.deliveries import Message, Outcome
from ems_streams.domain.webhook_message import body_of, headers_of, secret_keys

_RETRIED_4XX = frozenset({408, 425, 429})
_SHOWN_BYTES = 200


class WebhookSender:
    """Sends to one URL.

    Args:
        channel: Of the file.
        environ: Variables, with the secret among them; must have been checked.
    """

    def __init__(self, channel: WebhookChannel, environ: Mapping[str, str]) -> None:
        self._channel = channel
        self._keys = secret_keys(secret_of(environ, channel.secret_env))
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message: Message, now_s: float) -> Outcome:
        """One POST: 2xx is delivered; 408, 425, 429, 5xx and no answer in time are tried again; the rest is not."""
        body = body_of(message)
        headers = headers_of(message, body, self._keys, int(now_s))
        try:
            async with self._opened().post(str(self._channel.url), data=body, headers=headers, allow_redirects=False) as response:
                if 200 <= response.status < 300:
                    return Outcome(delivered=True)
                said = (await response.content.read(_SHOWN_BYTES)).decode(errors="replace")
                return outcome_of(response.status, response.headers, f"{response.status} {response.reason}: {said}".rstrip(": "), now_s)
        except TimeoutError:
            return failure(f"no answer within {self._channel.timeout_s:g} s", "TimeoutError")
        except (aiohttp.ClientError, OSError) as error:
            return failure(error)
        except ValueError as error:
            # Of the message itself, such as an id that cannot be in a header.
            return failure(error, permanent=True)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Each channel has connections of its own, so that none waits for another's.
            connector = aiohttp.TCPConnector(limit=self._channel.concurrency, ssl=tls_context(self._channel))
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._channel.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "ems-streams"},
            )
        return self._session


def outcome_of(status: int, headers: Mapping[str, str], text: str, now_s: float) -> Outcome:
    """What an answer that is no 2xx means."""
    retried = status >= 500 or status in _RETRIED_4XX
    retry_after_s = retry_after(headers.get("Retry-After", ""), now_s) if retried else None
    return failure(text, f"http_{status}", permanent=not retried, retry_after_s=retry_after_s)


def retry_after(value: str, now_s: float) -> float | None:
    """Seconds of a `Retry-After`, which is a number of them or a date; None when it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_s, UTC)).total_seconds())
