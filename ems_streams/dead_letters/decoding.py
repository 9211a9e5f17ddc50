"""Whether who reads a topic could make something of a record: the same decoders, asked before anything is sent."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarms import decode_acknowledgement, decode_alarm_event
from ems_streams.domain.command_events import decode_ack, decode_request
from ems_streams.domain.events import StatusEvent, StatusReport, TelemetryEvent, decode
from ems_streams.domain.json_text import read_json
from ems_streams.domain.maintenance import decode_window
from ems_streams.domain.promotions import decode_promotion
from ems_streams.domain.registry import RegistryEntry
from ems_streams.domain.silence import registered_timeout
from ems_streams.domain.site_membership import decode_site_record
from ems_streams.errors import MalformedError
from ems_streams.kafka.catalogue import (
    ALARM_ACKNOWLEDGEMENTS,
    ALARM_EVENTS,
    ALARM_RULES,
    DEVICE_COMMAND_ACKS,
    DEVICE_COMMANDS,
    DEVICE_REGISTRY,
    DEVICE_STATUS,
    DEVICE_STATUS_REPORTS,
    DEVICE_TELEMETRY,
    MAINTENANCE_WINDOWS,
    SITE_PARTS,
    WINDOW_PROMOTIONS,
)
from ems_streams.kafka.dead_letters import wrong_key
from ems_streams.postgres.rows import TOPICS as SINK_TOPICS
from ems_streams.postgres.rows import Source, row_of


def _registry_entry(value: bytes | None) -> RegistryEntry:
    entry = decode(RegistryEntry, value)
    registered_timeout(entry)
    return entry


_DECODERS: Final[dict[str, Callable[[bytes | None], Any]]] = {
    DEVICE_TELEMETRY: partial(decode, TelemetryEvent),
    DEVICE_STATUS_REPORTS: partial(decode, StatusReport),
    DEVICE_STATUS: partial(decode, StatusEvent),
    DEVICE_REGISTRY: _registry_entry,
    MAINTENANCE_WINDOWS: decode_window,
    ALARM_RULES: partial(decode, AlarmRule),
    ALARM_ACKNOWLEDGEMENTS: decode_acknowledgement,
    ALARM_EVENTS: decode_alarm_event,
    DEVICE_COMMANDS: decode_request,
    DEVICE_COMMAND_ACKS: decode_ack,
    SITE_PARTS: decode_site_record,
    WINDOW_PROMOTIONS: decode_promotion,
}
_DELETABLE: Final = frozenset({DEVICE_REGISTRY, MAINTENANCE_WINDOWS, ALARM_RULES})
"""Topics on which a record without a value means something."""
_KEYED_BY_DEVICE: Final = frozenset(
    {
        DEVICE_TELEMETRY,
        DEVICE_STATUS_REPORTS,
        DEVICE_STATUS,
        DEVICE_REGISTRY,
        ALARM_ACKNOWLEDGEMENTS,
        ALARM_EVENTS,
        DEVICE_COMMANDS,
        DEVICE_COMMAND_ACKS,
    }
)


def defect_of(topic: str, key: bytes | None, value: bytes | None) -> MalformedError | None:
    """What a reader of the topic would find wrong with a record; None when nothing is, and for topics that nobody here reads."""
    if value is None and topic in _DELETABLE:
        return None
    try:
        if topic in SINK_TOPICS:
            row_of(topic, value, Source(0, 0, round(time.time() * 1000)))
        decoder = _DECODERS.get(topic)
        event = None if decoder is None else decoder(value)
    except MalformedError as error:
        return error
    if topic in _KEYED_BY_DEVICE and event is not None:
        wanted = str(event.serial_number).encode()
        return wrong_key(key, wanted) if key != wanted else None
    return None


def as_json(value: bytes | None) -> Any:
    """The value as JSON; None when it is none, and when it could not be written as JSON again."""
    try:
        return read_json(value or b"")
    except ValueError:
        return None
