"""The registry of devices: what is known of a serial number beyond what the device says of itself."""

from hashlib import blake2b
from typing import Any, Protocol

from pydantic import Field

from ems_streams.domain.device_topic import DeviceTopic
from ems_streams.domain.events import Event, PositiveId, SerialNumber
from ems_streams.errors import MalformedError

UNKNOWN_TYPE = "UNKNOWN"
_ID_BYTES = 6


class RegistryEntry(Event):
    """A record of `device-registry`; the key is the serial number, the last record of a key counts.

    Attributes:
        device_id: Number of the device.
        serial_number: Serial number, the same as the key.
        site_id: Site that the device belongs to.
        device_type: Such as `SOLAR_INVERTER`; `UNKNOWN` until a message or an import says it.
        name: For people.
        limits: Limits for alarms, by metric.
        provisioned: Nobody registered the device; all of this is what it says of itself. Such a device may move to another
            site, while a registered one that publishes on another site's topic is malformed.
    """

    device_id: PositiveId
    serial_number: SerialNumber
    site_id: PositiveId
    device_type: str = UNKNOWN_TYPE
    name: str | None = None
    limits: dict[str, Any] = Field(default_factory=dict)
    provisioned: bool = False

    def learned(self, device_id: int | None, device_type: str | None) -> "RegistryEntry":
        """This entry with what a device says where the registry has a stopgap only: a provisional number, `UNKNOWN`."""
        update: dict[str, Any] = {}
        if device_id not in (
            None,
            self.device_id,
        ) and self.device_id == provisional_device_id(self.serial_number):
            update["device_id"] = device_id
        if device_type not in (None, self.device_type) and self.device_type == UNKNOWN_TYPE:
            update["device_type"] = device_type
        return self.model_copy(update=update) if update else self


class Registry(Protocol):
    """What is registered, as far as this process knows."""

    def get(self, serial_number: str) -> RegistryEntry | None:
        """The entry of a device."""

    def learn(self, entry: RegistryEntry) -> None:
        """Know an entry before it comes back on the topic; whoever calls this publishes it as well."""


class Directory:
    """Finds the entry that a message belongs to, and makes one for a device that nobody registered.

    Args:
        registry: What is registered.
        provision_unknown: Whether an unknown serial number gets an entry; otherwise its messages are malformed.
    """

    def __init__(self, registry: Registry, *, provision_unknown: bool) -> None:
        self._registry = registry
        self._provision_unknown = provision_unknown
        self._new: dict[str, RegistryEntry] = {}

    def resolve(self, topic: DeviceTopic, device_id: int | None, device_type: str | None) -> RegistryEntry:
        """The entry for a message on a topic that says these things of its device.

        Raises `MalformedError`: `unknown_device`, `site_mismatch` or `device_id_mismatch`.
        """
        known = entry = self._registry.get(topic.serial_number)
        if entry is None:
            if not self._provision_unknown:
                raise MalformedError(
                    "unknown_device",
                    f"serial number {topic.serial_number!r} is not in the registry",
                )
            entry = provision(topic.serial_number, topic.site_id, device_type, device_id)
        if entry.site_id != topic.site_id:
            entry = self._moved(entry, topic)
        if device_id is not None or device_type is not None:
            learned = entry.learned(device_id, device_type)
            if device_id not in (None, learned.device_id):
                raise MalformedError(
                    "device_id_mismatch",
                    f"deviceId={device_id}: the registry has {entry.device_id} for this serial number",
                )
            entry = learned
        # Not before: a message that is malformed registers nobody, and moves nobody.
        if entry is not known:
            self._remember(entry)
        return entry

    def _moved(self, entry: RegistryEntry, topic: DeviceTopic) -> RegistryEntry:
        if not (entry.provisioned and self._provision_unknown):
            raise MalformedError(
                "site_mismatch",
                f"the topic says site {topic.site_id}; the registry has the device at {entry.site_id}",
            )
        return entry.model_copy(update={"site_id": topic.site_id})

    def take_new(self) -> list[RegistryEntry]:
        """Entries made or completed since the last call; to be published with the messages that caused them."""
        new = list(self._new.values())
        self._new.clear()
        return new

    def _remember(self, entry: RegistryEntry) -> None:
        self._new[entry.serial_number] = entry
        self._registry.learn(entry)


def provisional_device_id(serial_number: str) -> int:
    """A positive number of 48 bits that depends on the serial number alone.

    It is the BLAKE2b hash (RFC 7693) of 6 bytes, big-endian. Every ingress computes the same one, so replicas that see a
    new device at the same moment write the same entry. Among a million devices two share one with a probability of
    0.2 %; that does no harm inside the system, which knows devices by serial number.
    """
    return int.from_bytes(blake2b(serial_number.encode(), digest_size=_ID_BYTES).digest(), "big") or 1


def provision(
    serial_number: str,
    site_id: int,
    device_type: str | None = None,
    device_id: int | None = None,
) -> RegistryEntry:
    """The entry for a serial number that nobody registered, with what the device says, else stopgaps."""
    return RegistryEntry(
        device_id=provisional_device_id(serial_number) if device_id is None else device_id,
        serial_number=serial_number,
        site_id=site_id,
        device_type=device_type or UNKNOWN_TYPE,
        provisioned=True,
    )
