"""Configuration of the secured embedded Kafka; that a broker takes it is shown in tests/integration/security."""

from pathlib import Path

import pytest

from ems_streams.dev.kafka_security import BROKER_USER, KafkaSecurity, TlsListener


def security(users: dict[str, str], **more: object) -> KafkaSecurity:
    return KafkaSecurity(Path("ca.pem"), Path("cert.pem"), Path("key.pem"), users, **more)  # type: ignore[arg-type]


def entries(made: KafkaSecurity) -> dict[str, str]:
    return dict(line.split("=", 1) for line in made.properties(Path("/d"), "own", 1).splitlines())


def test_nobody_may_do_what_no_acl_allows_and_passwords_are_written_for_plain_only() -> None:
    found = entries(security({"a": "pa$s"}, super_users=frozenset({"root"})))

    assert found["allow.everyone.if.no.acl.found"] == "false"
    assert found["super.users"] == f"User:{BROKER_USER};User:root"
    assert found["listener.name.controller.sasl.enabled.mechanisms"] == "PLAIN"
    assert "pa$s" not in "".join(found.values())
    assert 'user_a="pa$s"' in entries(security({"a": "pa$s"}, plain=True))["listener.name.clients.plain.sasl.jaas.config"]
    assert "pa$s" not in repr(security({"a": "pa$s"}))


def test_passwords_of_all_characters_are_quoted_twice() -> None:
    value = entries(security({"a": 'q"b\\ü😀'}, plain=True))["listener.name.more0.plain.sasl.jaas.config"]

    assert r'user_a="q\\"b\\\\\u00fc\ud83d\ude00"' in value


def test_a_listener_for_certificates_wants_one() -> None:
    made = security({}, tls_listeners=(TlsListener(9999),))

    assert entries(made)["listener.name.tls0.ssl.client.auth"] == "required"
    assert made.listeners() == [("TLS0", 9999)]


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "9", BROKER_USER])
def test_a_user_that_cannot_be_written_into_the_configuration_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="must be a letter"):
        security({name: "x"})
