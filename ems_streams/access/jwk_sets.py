"""Public keys that JWTs are signed with: from a file or a URL, with new ones looked for when they are asked for, but not too often."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import aiohttp
import orjson
import structlog
from jwt import PyJWK, PyJWTError

from ems_streams.access.errors import KeysAwayError

log = structlog.get_logger(__name__)

REFRESH_S: Final = 300.0
"""A key that was taken out of the set counts no longer than this."""
LOOK_AGAIN_S: Final = 10.0
"""Anybody can send a JWT of a key that nobody knows: not each of them is worth a request."""
FETCH_TIMEOUT_S: Final = 5.0
BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 100
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_PUBLIC: Final = ("RSA", "EC", "OKP")


class SigningKey(NamedTuple):
    """A public key.

    Attributes:
        kid: Its id.
        algorithms: Signatures that may be checked with it: the one that it names, else those that its kind can have.
        key: For PyJWT.
    """

    kid: str | None
    algorithms: frozenset[str]
    key: Any


Keys = tuple[SigningKey, ...]
Read = Callable[[], Awaitable[bytes]]


class KeySource(Protocol):
    """Where keys are found."""

    async def find(self, kid: str | None) -> Keys:
        """Keys that a JWT with this `kid` may be of; raises `KeysAwayError` when none were ever read."""


class KeySet:
    """A JWK Set that is read again when it is old or a key is not in it.

    When it cannot be read, what was read before stays.

    Args:
        read: Gives its JSON; raises `OSError`, `ValueError`, `TimeoutError` or `aiohttp.ClientError`.
        where: In words, for the log.
        clock: Monotonic seconds.
    """

    def __init__(self, read: Read, where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._where = where
        self._clock = clock
        self._keys: Keys = ()
        self._read_s = float("-inf")
        self._tried_s = float("-inf")
        self._reading = asyncio.Lock()
        self.trouble = ""

    async def find(self, kid: str | None) -> Keys:
        """Those of this id, or all when a JWT names none and there is a single one."""
        if self._clock() - self._read_s > REFRESH_S:
            await self._refresh()
        found = self._of(kid)
        if not found:
            await self._refresh()
            found = self._of(kid)
        if not self._keys:
            raise KeysAwayError(self.trouble)
        return found

    def _of(self, kid: str | None) -> Keys:
        if kid is None:
            return self._keys if len(self._keys) == 1 else ()
        return tuple(key for key in self._keys if key.kid == kid)

    async def _refresh(self) -> None:
        async with self._reading:
            if self._clock() - self._tried_s < LOOK_AGAIN_S:
                return
            self._tried_s = self._clock()
            try:
                self._keys = parse_keys(await self._read())
            except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
                self.trouble = f"{self._where}: {str(error) or type(error).__name__}"
                log.error("jwks_unusable", error=self.trouble, keys=len(self._keys))
                return
            self._read_s, self.trouble = self._tried_s, ""
            log.info("jwks_read", where=self._where, keys=len(self._keys))


def parse_keys(content: bytes) -> Keys:
    """Public keys for signatures of a JWK Set; others are passed over. Raises `ValueError` when there is none."""
    document: Any = orjson.loads(content)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("expected a JWK Set: an object with a list keys")  # noqa: TRY004 - a mistake of the text, not of the program
    # A key that can sign as well as verify (oct) has no place in what everybody may read.
    usable = [
        each for each in listed[:KEYS_MAX] if isinstance(each, dict) and each.get("kty") in _PUBLIC and each.get("use", "sig") == "sig"
    ]
    keys = [key for each in usable if (key := _key(each)) is not None]
    if not keys:
        raise ValueError(f"has {len(listed)} keys, none of them a public key for signatures; expected at least one of RSA, EC or OKP")
    return tuple(keys)


def _key(described: dict[str, Any]) -> SigningKey | None:
    try:
        made = PyJWK(described)
    except (PyJWTError, ValueError, TypeError):
        return None
    named, kid = described.get("alg"), described.get("kid")
    algorithms = frozenset({str(named)}) if named else _RSA if made.key_type == "RSA" else frozenset({made.algorithm_name})
    return SigningKey(kid if isinstance(kid, str) else None, algorithms, made.key)


def from_file(path: Path) -> Read:
    """Reads a file."""

    async def read() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return read


def from_url(url: str) -> Read:
    """Asks a URL, with a session of its own: what the gateway shows the workers is nobody else's business."""

    async def read() -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"answers {response.status}; expected 200")
            content = await response.content.read(BYTES_MAX + 1)
            while not response.content.at_eof() and len(content) <= BYTES_MAX:
                content += await response.content.read(BYTES_MAX + 1 - len(content))
        if len(content) > BYTES_MAX:
            raise ValueError(f"has more than {BYTES_MAX} bytes")
        return content

    return read
