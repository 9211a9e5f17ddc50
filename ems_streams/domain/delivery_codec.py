"""Deliveries as records of the changelog: JSON with a version, one record for each chain, one for the positions, one for the channel's health.

Keys begin with the channel's name and a NUL, which no name can have, so that channels can share a partition.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ems_streams.domain.deliveries import Chain, Change, Deliveries, Done, End, Source
from ems_streams.domain.events import Notification, decode
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.errors import MalformedError

VERSION: Final = 1
_KIND: Final = "deliveries"
_POSITIONS: Final = b"p"
_HEALTH: Final = b"h"
_CHAIN: Final = b"c"

KeyAndValue = tuple[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How a channel does, as it was said when it changed last.

    Attributes:
        breaker: State of its circuit breaker.
        since_ms: Since when.
        reason: Of the last failure.
    """

    breaker: str = "closed"
    since_ms: int = 0
    reason: str = ""


def prefix_of(channel: str) -> bytes:
    """What all keys of a channel begin with."""
    return channel.encode() + b"\0"


def change_record(channel: str, change: Change) -> KeyAndValue:
    """The record of a change."""
    key = prefix_of(channel) + _CHAIN + change.notification_id.encode()
    if change.chain is not None:
        return key, orjson.dumps(_chain_fields(change.chain))
    if change.done is None:
        return key, None
    done = change.done
    return key, orjson.dumps({"v": VERSION, "state": str(done.end), "attempts": done.attempts, "at": done.at_ms})


def positions_record(channel: str, positions: dict[int, int]) -> KeyAndValue:
    """The record of how far a channel has read."""
    fields = {"v": VERSION, "next": {str(partition): offset for partition, offset in sorted(positions.items())}}
    return prefix_of(channel) + _POSITIONS, orjson.dumps(fields)


def health_record(channel: str, health: ChannelHealth) -> KeyAndValue:
    """The record of how a channel does."""
    fields = {"v": VERSION, "breaker": health.breaker, "since": health.since_ms, "reason": health.reason}
    return prefix_of(channel) + _HEALTH, orjson.dumps(fields)


@dataclass(slots=True)
class Restored:
    """What the changelog says of a channel.

    Attributes:
        known: Whether the channel was ever there.
    """

    deliveries: Deliveries = field(default_factory=Deliveries)
    health: ChannelHealth = field(default_factory=ChannelHealth)
    known: bool = False


def restore(channel: str, records: Iterable[KeyAndValue]) -> Restored:
    """Put a channel together from its records, the last one of each key; raises `StateCodecError`."""
    found = Restored()
    prefix = prefix_of(channel)
    chains: list[Chain] = []
    done: list[tuple[str, Done]] = []
    for key, value in records:
        if value is None or not key.startswith(prefix):
            continue
        kind, rest = key[len(prefix) : len(prefix) + 1], key[len(prefix) + 1 :]
        fields = _fields(value)
        try:
            if kind == _POSITIONS:
                found.known = True
                found.deliveries.positions = {int(partition): int(offset) for partition, offset in fields["next"].items()}
            elif kind == _HEALTH:
                found.health = ChannelHealth(str(fields["breaker"]), int(fields["since"]), str(fields["reason"]))
            elif kind == _CHAIN and fields["state"] == "open":
                chains.append(_chain(fields))
            elif kind == _CHAIN:
                done.append((rest.decode(), Done(End(fields["state"]), int(fields["attempts"]), int(fields["at"]))))
            else:
                raise StateCodecError(_KIND, f"key {key!r}: unknown kind of record")
        except (KeyError, TypeError, ValueError, AttributeError, MalformedError) as error:
            raise StateCodecError(_KIND, f"key {key!r}: {error!r}") from None
    deliveries = found.deliveries
    deliveries.open = {chain.notification_id: chain for chain in sorted(chains, key=lambda each: each.number)}
    deliveries.done = dict(sorted(done, key=lambda each: each[1].at_ms))
    deliveries.next_number = max((chain.number + 1 for chain in chains), default=0)
    return found


def _fields(value: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(value)
    except ValueError as error:
        raise StateCodecError(_KIND, str(error)) from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise StateCodecError(_KIND, f"version {fields.get('v') if isinstance(fields, dict) else None}, expected {VERSION}")
    return fields


def _chain_fields(chain: Chain) -> dict[str, Any]:
    source = chain.source
    return {
        "v": VERSION,
        "state": "open",
        "number": chain.number,
        "attempts": chain.attempts,
        "sending": chain.sending,
        "message": chain.message_id,
        "due": chain.due_ms,
        "firstFailedAt": chain.first_failed_ms,
        "error": chain.error,
        "partition": source.partition,
        "offset": source.offset,
        "timestamp": source.timestamp_ms,
        "replays": source.replay_count,
        # Keys and headers may be any bytes, which JSON text cannot hold; what was decoded as a notification is text.
        "key": None if source.key is None else source.key.hex(),
        "headers": [(name, content.hex()) for name, content in source.carried],
        "value": chain.value.decode(),
    }


def _chain(fields: dict[str, Any]) -> Chain:
    value = str(fields["value"]).encode()
    key = None if fields["key"] is None else bytes.fromhex(fields["key"])
    first_failed = fields["firstFailedAt"]
    return Chain(
        notification=decode(Notification, value),
        value=value,
        source=Source(
            int(fields["partition"]),
            int(fields["offset"]),
            int(fields["timestamp"]),
            key,
            # Records of a release that knew no redrives have neither.
            replay_count=int(fields.get("replays", 0)),
            carried=tuple((str(name), bytes.fromhex(content)) for name, content in fields.get("headers", ())),
        ),
        number=int(fields["number"]),
        attempts=int(fields["attempts"]),
        sending=bool(fields["sending"]),
        message_id=str(fields["message"]),
        due_ms=int(fields["due"]),
        first_failed_ms=None if first_failed is None else int(first_failed),
        error=str(fields["error"]),
    )
