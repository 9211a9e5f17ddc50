"""The mosquitto configuration that is shipped, looked at as text: what mosquitto makes of it is in tests/integration/secure_servers."""

import pytest

from ems_streams.mqtt.connection import MAX_PACKET_BYTES
from ems_streams.mqtt.topics import ALL_SITES
from tests.support.mosquitto import SHIPPED, Acl, matches, options

ACL = Acl.read(SHIPPED / "acl")
OPTIONS = options(SHIPPED / "secure.conf")


def listeners() -> dict[str, dict[str, str]]:
    """Options by the listener that they stand behind; general ones behind the last one as well."""
    found: dict[str, dict[str, str]] = {}
    for name, value in OPTIONS:
        if name == "listener":
            found[value] = {}
        elif found:
            found[list(found)[-1]][name] = value
    return found


def test_every_listener_wants_a_certificate_by_tls():
    assert list(listeners()) == ["8883", "8884"]
    for port, given in listeners().items():
        assert {"cafile", "certfile", "keyfile"} <= given.keys(), port
        assert given["require_certificate"] == "true", port
        assert given["tls_version"] == "tlsv1.2", port


def test_a_device_is_who_its_certificate_says_and_its_client_id_too():
    devices, ems = listeners()["8883"], listeners()["8884"]
    assert devices["use_identity_as_username"] == devices["use_username_as_clientid"] == "true"
    # Several ingresses and partitions share a user; and the certificate of a device, whoever signed it, opens nothing there.
    assert not {"use_identity_as_username", "use_username_as_clientid"} & ems.keys()
    assert ems["cafile"] != devices["cafile"]


def test_nobody_comes_in_without_a_name_and_rights():
    given = dict(OPTIONS)
    assert given["allow_anonymous"] == "false"
    assert given["acl_file"] == "/mosquitto/config/acl"
    assert given["password_file"]


def test_nothing_is_dropped_without_a_word():
    given = dict(OPTIONS)
    assert given["persistence"] == "true"
    # How often is counted in changes then, and not in seconds.
    assert (given["autosave_on_changes"], given["autosave_interval"]) == ("true", "1")
    assert int(given["max_queued_messages"]) >= 100_000
    assert given["max_inflight_messages"] == "0"
    assert int(given["max_packet_size"]) <= MAX_PACKET_BYTES


TELEMETRY, STATUS, COMMANDS, ACK = (f"sites/1/devices/INV-001/{each}" for each in ("telemetry", "status", "commands", "commands/ack"))


@pytest.mark.parametrize(
    ("user", "access", "topic", "allowed"),
    [
        ("INV-001", "write", TELEMETRY, True),
        ("INV-001", "write", STATUS, True),
        ("INV-001", "write", ACK, True),
        ("INV-001", "read", COMMANDS, True),
        ("INV-001", "write", COMMANDS, False),
        ("INV-001", "read", TELEMETRY, False),
        ("INV-002", "write", TELEMETRY, False),
        ("INV-002", "write", STATUS, False),
        ("INV-002", "write", ACK, False),
        ("INV-002", "read", COMMANDS, False),
        ("INV-0011", "read", COMMANDS, False),
        ("+", "read", COMMANDS, False),
        ("#", "write", TELEMETRY, False),
        ("INV-001", "write", "sites/1/devices/INV-001", False),
        ("INV-001", "write", "$SYS/broker/uptime", False),
        ("ems-ingress", "read", TELEMETRY, True),
        ("ems-ingress", "read", ACK, True),
        ("ems-ingress", "read", ALL_SITES.replace("#", "anything/else"), True),
        ("ems-ingress", "write", TELEMETRY, False),
        ("ems-ingress", "write", COMMANDS, False),
        ("ems-worker", "write", COMMANDS, True),
        ("ems-worker", "write", TELEMETRY, False),
        ("ems-worker", "write", ACK, False),
        ("ems-worker", "read", COMMANDS, False),
        ("", "write", TELEMETRY, False),
    ],
)
def test_who_may_do_what(user: str, access: str, topic: str, allowed: bool):
    assert ACL.allows(user, access, topic) is allowed


@pytest.mark.parametrize(
    ("pattern", "topic", "matching"),
    [("a/+/c", "a/b/c", True), ("a/+/c", "a/b/b/c", False), ("a/#", "a/b/c", True), ("a/#", "b/c", False), ("a.c", "abc", False)],
)
def test_the_matching_of_these_tests(pattern: str, topic: str, matching: bool):
    assert matches(pattern, topic) is matching
