"""Addresses of brokers."""

import pytest

from ems_streams.mqtt.endpoint import Endpoint, Login, parse_url


@pytest.mark.parametrize(
    ("url", "endpoint", "login"),
    [
        ("mqtt://localhost", Endpoint("localhost", 1883), Login()),
        ("tcp://localhost:1884", Endpoint("localhost", 1884), Login()),
        ("mqtts://broker.example", Endpoint("broker.example", 8883, tls=True), Login()),
        ("mqtt://[::1]:1883", Endpoint("::1", 1883), Login()),
        ("mqtt://ems:p%40ss@host", Endpoint("host", 1883), Login("ems", "p@ss")),
    ],
)
def test_parse(url: str, endpoint: Endpoint, login: Login) -> None:
    assert parse_url(url) == (endpoint, login)
    assert "p@ss" not in repr(login)


@pytest.mark.parametrize("url", ["http://localhost", "localhost:1883", "mqtt://"])
def test_what_is_no_address_of_a_broker(url: str) -> None:
    with pytest.raises(ValueError, match=r"scheme|host"):
        parse_url(url)
