"""When the silence of a device means that it is offline: nothing arrived for its timeout while somebody listened without a break.

Who listens says so by heartbeats (`heartbeat.Heartbeat`). Their times, in the order of the partition, make one stretch of time without a break,
which begins anew when an ingress was away. So what is concluded depends on the heartbeats of the partition and on what arrived, on no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.refusals import invalid
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.state_codec import StateCodecError, whole_number
from ems_streams.domain.status import DeviceStatusState, Transition, on_silence
from ems_streams.domain.status_table import TRANSITIONS, StatusInput

LISTENING_VERSION: Final = 0x81
TIMEOUT_VERSION: Final = 0x82

TIMEOUT_LIMIT: Final = "silenceTimeoutS"
"""Name of the limit in the registry."""
TIMEOUT_MAX_S: Final = 30 * 86_400

FORGOTTEN_AFTER_GAPS: Final = 3
"""An ingress that is away for so many times the longest gap is not waited for any more: it was scaled down."""

_KIND = "listening"
_ENDED: Final = frozenset(status for status, happened in TRANSITIONS if happened is StatusInput.SILENCE)


@dataclass(slots=True)
class Listening:
    """Since when, without a break, and until when all ingresses listened, by the heartbeats of one partition.

    Attributes:
        since_ms: Begin of the present stretch.
        until_ms: The latest time by which all that devices had sent had been taken by whoever was there; never goes back.
        beats_ms: Last heartbeat of each ingress that is there. One that has gone without a word holds time up for a while: what devices
            had sent to it may come yet.
    """

    since_ms: int = 0
    until_ms: int = 0
    beats_ms: dict[str, int] = field(default_factory=dict)

    def hear(self, ingress_id: str, time_ms: int, gap_ms: int) -> None:
        """Take a heartbeat in; times further apart than `gap_ms` are a break."""
        beats = self.beats_ms
        beats[ingress_id] = max(time_ms, beats.get(ingress_id, 0))
        newest_ms = max(beats.values())
        for gone in [each for each, at_ms in beats.items() if newest_ms - at_ms > FORGOTTEN_AFTER_GAPS * gap_ms]:
            del beats[gone]
        until_ms = min(beats.values())
        if until_ms - self.until_ms > gap_ms:
            self.since_ms = until_ms
        self.until_ms = max(self.until_ms, until_ms)


@dataclass(frozen=True, slots=True)
class RegisteredTimeout:
    """What the registry says of a device's silence, kept until the device is heard of, and after."""

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class SilencePolicy:
    """How long silence has to last.

    Attributes:
        default_ms: For types that have none of their own; 0 for never.
        by_type_ms: By device type; 0 for never.
        gap_ms: Heartbeats further apart than this are a break in listening.
    """

    default_ms: int
    by_type_ms: Mapping[str, int]
    gap_ms: int

    def timeout_ms(self, state: DeviceStatusState) -> int:
        """Of a device: as registered for it, or else for its type; 0 for never."""
        if state.silence_timeout_ms is not None:
            return state.silence_timeout_ms
        return self.by_type_ms.get(state.device_type, self.default_ms)


def due_ms(state: DeviceStatusState, listening_since_ms: int, policy: SilencePolicy) -> int:
    """From when on the silence of a device means something, if nothing more arrives; `NEVER_MS` when it never does."""
    if state.status not in _ENDED:
        return NEVER_MS
    timeout_ms = policy.timeout_ms(state)
    return max(state.heard_ms, listening_since_ms) + timeout_ms if timeout_ms else NEVER_MS


def tick(state: DeviceStatusState, listening_since_ms: int, now_ms: int, policy: SilencePolicy, partition: int) -> Transition | None:
    """Let time go on for a device to when everything that had arrived is in its state; gives the transition, if its silence is one."""
    if due_ms(state, listening_since_ms, policy) > now_ms:
        return None
    return on_silence(state, max(state.heard_ms, listening_since_ms), policy.timeout_ms(state), partition)


def registered_timeout(entry: RegistryEntry) -> RegisteredTimeout | None:
    """The device's own timeout; None leaves it to its type. Raises `MalformedError`."""
    limit = entry.limits.get(TIMEOUT_LIMIT)
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= TIMEOUT_MAX_S:
        raise invalid(f"limits.{TIMEOUT_LIMIT}", limit, f"expected seconds from 0 to {TIMEOUT_MAX_S}, with 0 for never")
    return RegisteredTimeout(round(limit * 1000))


def encode_listening(listening: Listening) -> bytes:
    """As bytes: a version byte, then a JSON list."""
    return bytes((LISTENING_VERSION,)) + orjson.dumps((listening.since_ms, listening.until_ms, sorted(listening.beats_ms.items())))


def decode_listening(data: bytes) -> Listening:
    """Of its bytes; raises `StateCodecError`."""
    try:
        since_ms, until_ms, beats = orjson.loads(data[1:])
        return Listening(whole_number(since_ms), whole_number(until_ms), {str(name): whole_number(at_ms) for name, at_ms in beats})
    except (ValueError, TypeError) as error:
        raise StateCodecError(_KIND, str(error)) from None


def encode_timeout(timeout: RegisteredTimeout) -> bytes:
    """As bytes: a version byte, then the milliseconds."""
    return bytes((TIMEOUT_VERSION,)) + str(timeout.timeout_ms).encode()


def decode_timeout(data: bytes) -> RegisteredTimeout:
    """Of its bytes; raises `StateCodecError`."""
    try:
        return RegisteredTimeout(int(data[1:]))
    except ValueError as error:
        raise StateCodecError("registered timeout", str(error)) from None
