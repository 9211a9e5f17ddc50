"""Which models are the records of which topics, and their JSON Schemas."""

from dataclasses import dataclass
from typing import Final

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.domain.alarms import Acknowledgement, AlarmEvent
from ems_streams.domain.command_events import CancelRequest, CommandEvent, CommandRequest
from ems_streams.domain.events import (
    AggregateEvent,
    CommandAck,
    Notification,
    SiteAggregateEvent,
    StatusEvent,
    StatusReport,
    TelemetryEvent,
)
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.maintenance import MaintenanceWindow
from ems_streams.domain.registry import RegistryEntry
from ems_streams.kafka import catalogue
from ems_streams.schemas.examples import EXAMPLES
from ems_streams.schemas.models import Model, PublishedGenerator, Schema, schemas_of, without_nulls

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Events:
    """What is on a topic.

    Attributes:
        models: Each record is one of these.
        taken: Whether other programs may write such records: then the schema says what is accepted, and otherwise what is published.
    """

    models: tuple[Model, ...]
    taken: bool = False


EVENTS: Final = {
    catalogue.DEVICE_TELEMETRY: Events((TelemetryEvent,), taken=True),
    catalogue.DEVICE_TELEMETRY_LATE: Events((TelemetryEvent,)),
    catalogue.DEVICE_STATUS: Events((StatusEvent,)),
    catalogue.DEVICE_STATUS_REPORTS: Events((StatusReport,), taken=True),
    catalogue.DEVICE_AGGREGATES: Events((AggregateEvent,)),
    catalogue.SITE_AGGREGATES: Events((SiteAggregateEvent,)),
    catalogue.DEVICE_NOTIFICATIONS: Events((Notification,)),
    catalogue.DEVICE_COMMANDS: Events((CommandRequest, CancelRequest), taken=True),
    catalogue.DEVICE_COMMAND_ACKS: Events((CommandAck,), taken=True),
    catalogue.DEVICE_COMMAND_EVENTS: Events((CommandEvent,)),
    catalogue.ALARM_EVENTS: Events((AlarmEvent,)),
    catalogue.ALARM_ACKNOWLEDGEMENTS: Events((Acknowledgement,), taken=True),
    catalogue.MAINTENANCE_WINDOWS: Events((MaintenanceWindow,), taken=True),
    catalogue.ALARM_RULES: Events((AlarmRule,), taken=True),
    catalogue.DEVICE_REGISTRY: Events((RegistryEntry,), taken=True),
    catalogue.INGRESS_HEARTBEATS: Events((Heartbeat,)),
}
"""By topic; what is not here is no JSON that is meant for others."""


def event_schemas(prefix: str = "#/components/schemas/") -> dict[str, Schema]:
    """The schemas of all events and of what they are made of, by name."""
    read = {model for each in EVENTS.values() if each.taken for model in each.models}
    written = {model for each in EVENTS.values() for model in each.models} - read
    _, taken = schemas_of([(model, "validation") for model in _sorted(read)], prefix)
    _, published = schemas_of([(model, "serialization") for model in _sorted(written)], prefix, PublishedGenerator)
    schemas = {name: without_nulls(schema) for name, schema in {**taken, **published}.items()}
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    return dict(sorted(schemas.items()))


def event_documents() -> dict[str, Schema]:
    """A JSON Schema of its own for each event, by the name of its model."""
    schemas = event_schemas("#/$defs/")
    return {name: _document(name, schemas) for name in sorted(EXAMPLES)}


def _document(name: str, schemas: dict[str, Schema]) -> Schema:
    used = _used_by(schemas[name], schemas)
    definitions = {each: schemas[each] for each in sorted(used - {name})}
    return {"$schema": DIALECT, "$id": f"urn:ems-streams:event:{name}", **schemas[name], **({"$defs": definitions} if definitions else {})}


def _used_by(schema: object, schemas: dict[str, Schema], known: frozenset[str] = frozenset()) -> frozenset[str]:
    if isinstance(schema, list):
        for each in schema:
            known = _used_by(each, schemas, known)
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name in schemas and name not in known:
            known = _used_by(schemas[name], schemas, known | {name})
        for each in schema.values():
            known = _used_by(each, schemas, known)
    return known


def _sorted(models: set[Model]) -> list[Model]:
    return sorted(models, key=lambda model: model.__name__)
