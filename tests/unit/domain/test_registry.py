"""The registry: who is known, who becomes known, and what contradicts it."""

import pytest

from ems_streams.domain.device_topic import DeviceTopic, TopicKind
from ems_streams.domain.events import decode
from ems_streams.domain.registry import Directory, RegistryEntry, provision, provisional_device_id
from ems_streams.errors import MalformedError

TOPIC = DeviceTopic(1, "INV-001", TopicKind.TELEMETRY)


class Entries(dict[str, RegistryEntry]):
    def learn(self, entry: RegistryEntry) -> None:
        self[entry.serial_number] = entry


def test_the_provisional_number_is_pinned_since_all_replicas_and_versions_must_agree() -> None:
    assert provisional_device_id("INV-001") == 36090656115743
    assert 0 < provisional_device_id("") < 2**48


def test_an_unknown_device_is_provisioned_once() -> None:
    directory = Directory(Entries(), provision_unknown=True)
    entry = directory.resolve(TOPIC, None, None)
    assert directory.resolve(TOPIC, None, None) is entry
    assert directory.take_new() == [entry] == [provision("INV-001", 1)]
    assert directory.take_new() == []


def test_an_unknown_device_can_be_refused() -> None:
    with pytest.raises(MalformedError, match="unknown_device"):
        Directory(Entries(), provision_unknown=False).resolve(TOPIC, None, None)


def test_what_the_device_says_replaces_stopgaps_only() -> None:
    directory = Directory(Entries(), provision_unknown=True)
    directory.resolve(TOPIC, None, None)
    learned = directory.resolve(TOPIC, 123, "SOLAR_INVERTER")
    assert (learned.device_id, learned.device_type) == (123, "SOLAR_INVERTER")
    assert directory.take_new() == [learned]
    assert directory.resolve(TOPIC, 123, "BATTERY") == learned
    assert directory.take_new() == []
    with pytest.raises(MalformedError, match="device_id_mismatch"):
        directory.resolve(TOPIC, 124, None)


def test_a_registered_device_on_another_site_is_malformed() -> None:
    entries = Entries({"INV-001": RegistryEntry(device_id=7, serial_number="INV-001", site_id=2)})
    with pytest.raises(MalformedError, match="site_mismatch"):
        Directory(entries, provision_unknown=True).resolve(TOPIC, None, None)


def test_a_device_that_nobody_registered_may_move() -> None:
    directory = Directory(Entries({"INV-001": provision("INV-001", 2, "BATTERY")}), provision_unknown=True)
    moved = directory.resolve(TOPIC, None, None)
    assert (moved.site_id, moved.device_type) == (1, "BATTERY")
    assert directory.take_new() == [moved]


def test_an_entry_survives_its_encoding() -> None:
    entry = provision("INV-001", 1, "BATTERY")
    assert decode(RegistryEntry, entry.encode()) == entry


def test_a_message_that_is_malformed_moves_nobody() -> None:
    entries = Entries()
    directory = Directory(entries, provision_unknown=True)
    directory.resolve(TOPIC, 7, None)
    directory.take_new()
    with pytest.raises(MalformedError, match="device_id_mismatch"):
        directory.resolve(DeviceTopic(2, "INV-001", TopicKind.TELEMETRY), 9, None)
    assert directory.take_new() == []
    assert entries["INV-001"].site_id == 1
