"""Static bearer tokens as data: what a file of tokens says of each, which is everything but the token itself; pure."""

import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints

from ems_streams.access.roles import Principal, Role, Sites

TOKENS_MAX: Final = 1000
ALL_SITES: Final = "all"
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
HASH_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
SITES_EXPECTED: Final = f"expected {ALL_SITES}, or a list of site ids such as [1, 2]"
EXPIRES_EXPECTED: Final = "expected a time with its zone, such as 2027-01-31T12:00:00Z, or a day"
_SITE_MAX: Final = 2**63 - 1
_PREFIX: Final = "ems_"
_TOKEN_BYTES: Final = 32
_DAY_CHARS: Final = len("2027-01-31")


def _sites(value: Any) -> Sites:
    if value == ALL_SITES:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError(SITES_EXPECTED)
    if any(isinstance(site, bool) or not isinstance(site, int) or not 0 < site <= _SITE_MAX for site in value):
        raise ValueError(SITES_EXPECTED)
    return frozenset(value)


def _moment(value: Any) -> datetime:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(f"{value}T00:00:00Z" if len(value) == _DAY_CHARS else value)
        except ValueError:
            raise ValueError(EXPIRES_EXPECTED) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(EXPIRES_EXPECTED)
    return moment.astimezone(UTC)


class TokenEntry(BaseModel):
    """A token as the file has it.

    Attributes:
        name: Of whoever has it; what is done with it is done by this name.
        hash: `sha256:` and the SHA-256 of the token in hexadecimal digits. A token has 256 random bits, so that nobody can try them all.
        role: What it may do.
        sites: Whose devices; None for every site.
        expires: When it ends; never without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    hash: Annotated[str, StringConstraints(pattern=HASH_PATTERN)]
    role: Role
    sites: Annotated[Sites, PlainValidator(_sites)]
    expires: Annotated[datetime | None, PlainValidator(_moment)] = None

    @property
    def principal(self) -> Principal:
        """Who shows it."""
        return Principal(self.name, self.role, self.sites, self.expires)


class TokensFile(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: Annotated[tuple[TokenEntry, ...], Field(max_length=TOKENS_MAX)]


def new_token() -> str:
    """A token that nobody has yet; URL-safe text."""
    return _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> str:
    """What a file has of a token."""
    # A header may have bytes that are no text; a token of such is as unknown as any other.
    return f"sha256:{sha256(token.encode(errors='surrogateescape')).hexdigest()}"


def entry_of(entries: Iterable[TokenEntry], token: str) -> TokenEntry | None:
    """The entry of a token, also of one that is over; how long it takes says nothing about which one it nearly is."""
    shown = hash_of(token)
    found = None
    for entry in entries:
        if hmac.compare_digest(entry.hash, shown):
            found = entry
    return found


def entry_yaml(entry: TokenEntry, indent: str = "  ") -> str:
    """Lines of YAML for the list of a file."""
    sites = ALL_SITES if entry.sites is None else f"[{', '.join(map(str, sorted(entry.sites)))}]"
    fields = {"name": f'"{entry.name}"', "hash": entry.hash, "role": entry.role.value, "sites": sites}
    if entry.expires is not None:
        fields["expires"] = f'"{entry.expires.isoformat().replace("+00:00", "Z")}"'
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return f"{indent}- {lines[0]}\n" + "".join(f"{indent}  {line}\n" for line in lines[1:])
