"""A message as a webhook: body, and headers as the Standard Webhooks scheme has them, with its signature."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import orjson

from ems_streams.domain.deliveries import Message
from ems_streams.domain.events import Notification, format_time

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what all secrets begin with
SECRET_BYTES: Final = (24, 64)
SINGLE_TYPE: Final = "notification"
DIGEST_TYPE: Final = "notification.digest"
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
ATTEMPT_HEADER: Final = "ems-attempt"


def secret_key(secret: str) -> bytes:
    """Key of a secret as the scheme writes it: base64 of 24 to 64 bytes, with or without `whsec_`; raises `ValueError` without showing it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        raise ValueError("must be whsec_ and base64 of 24 to 64 bytes, such as `openssl rand -base64 32` makes")
    return key


def secret_keys(secrets: str) -> list[bytes]:
    """Keys of one or several secrets that are separated by spaces; raises `ValueError`."""
    keys = [secret_key(secret) for secret in secrets.split()]
    if not keys:
        raise ValueError("must not be empty")
    return keys


def body_of(message: Message) -> bytes:
    """JSON: the same bytes at every attempt."""
    notifications = [_fields(notification) for notification in message.notifications]
    latest = max(notification.timestamp for notification in message.notifications)
    single = len(notifications) == 1
    data: dict[str, Any] = notifications[0] if single else {"count": len(notifications), "notifications": notifications}
    return orjson.dumps({"type": SINGLE_TYPE if single else DIGEST_TYPE, "timestamp": format_time(latest), "data": data})


def _fields(notification: Notification) -> dict[str, Any]:
    return notification.model_dump(mode="json", by_alias=True, exclude_none=True)


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over id, time and body, joined by dots."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers_of(message: Message, body: bytes, keys: Sequence[bytes], timestamp_s: int) -> dict[str, str]:
    """Headers of one attempt.

    Args:
        keys: One signature for each, so that a receiver may know the old secret or the new one.
        timestamp_s: Time of the attempt, in seconds since 1970: a receiver refuses what is old.
    """
    return {
        "Content-Type": "application/json",
        ID_HEADER: message.message_id,
        IDEMPOTENCY_HEADER: message.message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: " ".join(signature(key, message.message_id, timestamp_s, body) for key in keys),
        ATTEMPT_HEADER: str(message.attempt),
    }
