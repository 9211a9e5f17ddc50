"""Topics: parse and format are inverse, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.errors import MalformedError
from ems_streams.mqtt.topics import DeviceTopic, TopicKind, parse_topic, serial_number_in


@given(
    site_id=st.integers(0, 2**63 - 1),
    serial_number=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z"),
    kind=st.sampled_from(TopicKind),
)
def test_parse_is_the_inverse_of_format(site_id: int, serial_number: str, kind: TopicKind) -> None:
    topic = DeviceTopic(site_id, serial_number, kind)
    assert DeviceTopic.parse(topic.format()) == topic == parse_topic(topic.format())


@pytest.mark.parametrize(
    ("topic", "named"),
    [
        ("sites/1/devices/INV-001", "expected sites/"),
        ("sites/1/INV-001/telemetry", "expected sites/"),
        ("site/1/devices/INV-001/telemetry", "expected sites/"),
        ("/sites/1/devices/INV-001/telemetry", "expected sites/"),
        ("sites/x/devices/INV-001/telemetry", "site id 'x'"),
        ("sites/-1/devices/INV-001/telemetry", "site id '-1'"),
        ("sites/01/devices/INV-001/telemetry", "site id '01'"),
        ("sites/\N{ARABIC-INDIC DIGIT ONE}/devices/INV-001/telemetry", "site id"),
        ("sites/9223372036854775808/devices/INV-001/telemetry", "site id"),
        ("sites//devices/INV-001/telemetry", "site id ''"),
        ("sites/1/devices//telemetry", "serial number ''"),
        ("sites/1/devices/INV 001/telemetry", "serial number"),
        ("sites/1/devices/" + "A" * 65 + "/telemetry", "serial number"),
        ("sites/1/devices/INV-001\n/telemetry", "serial number"),
        ("sites/1/devices/INV-001/telemetry/", "ending 'telemetry/'"),
        ("sites/1/devices/INV-001/Telemetry", "ending 'Telemetry'"),
        ("sites/1/devices/INV-001/telemetry/extra", "ending"),
        ("sites/1/devices/INV-001/", "ending ''"),
    ],
)
def test_what_is_wrong_with_a_topic_is_named(topic: str, named: str) -> None:
    with pytest.raises(MalformedError, match="invalid_topic") as caught:
        DeviceTopic.parse(topic)
    assert named in caught.value.detail


def test_a_dead_letter_has_a_key_if_the_serial_number_is_in_its_place() -> None:
    assert serial_number_in("sites/x/devices/INV-001/nonsense") == "INV-001"
    assert serial_number_in("sites/1/devices/IN V/telemetry") is None
    assert serial_number_in("sites/1") is None
