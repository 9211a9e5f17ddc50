"""Identities must come out the same everywhere and always: these are pinned."""

import subprocess
import sys

from ems_streams.domain.identifiers import IDENTITY_BYTES, event_id, message_identity, notification_id, record_identity, telemetry_identity


def test_identities_are_pinned() -> None:
    assert record_identity(b"{}") == message_identity("{}")
    assert event_id("INV-001", "device-telemetry", 3, 17, "status") == "1de95bcff6d6887f3ced685000144f08"
    assert notification_id("1de95bcff6d6887f3ced685000144f08", "STATUS_CHANGE") == "e61adebe1750f0da23f52ed4da236a3f"
    assert message_identity("m-1") == bytes.fromhex("1dc73f47c0140d66")


def test_identities_do_not_depend_on_the_process() -> None:
    program = "from ems_streams.domain.identifiers import message_identity as i; print(i('m-1'))"
    found = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{message_identity('m-1')!r}\n"}


def test_identities_have_64_bits() -> None:
    identities = {message_identity(str(number)) for number in range(2000)}
    assert len(identities) == 2000
    assert {len(identity) for identity in identities} == {IDENTITY_BYTES} == {8}


def test_a_message_id_counts_more_than_the_bytes() -> None:
    assert telemetry_identity("m-1", b"one") == telemetry_identity("m-1", b"two") == message_identity("m-1")
    assert telemetry_identity(None, b"one") == telemetry_identity("", b"one") == record_identity(b"one")
    assert telemetry_identity(None, b"one") != telemetry_identity(None, b"two")


def test_every_part_of_an_event_id_counts() -> None:
    sources = [
        ("INV-001", "device-telemetry", 1, 11, "status"),
        ("INV-002", "device-telemetry", 1, 11, "status"),
        ("INV-001", "device-status-reports", 1, 11, "status"),
        ("INV-001", "device-telemetry", 11, 1, "status"),
        ("INV-001", "device-telemetry", 1, 1, "1status"),
        ("INV-001", "device-telemetry", 1, 11, "alarm"),
    ]
    assert len({event_id(*source) for source in sources}) == len(sources)
