"""What a client that is not let in is told, by the real broker: one line that says what is wrong, and what to do."""

from collections.abc import Callable

import pytest

from ems_streams.kafka.admin import list_topics, missing_topics
from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from ems_streams.kafka.range_reader import positioned_consumer
from ems_streams.kafka.refusals import KafkaRefusedError
from ems_streams.settings import Settings
from tests.support.secure_kafka import SUPER, SecureKafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_every_mechanism_of_passwords_works_for_both_clients(secure_kafka: SecureKafka, mechanism: str) -> None:
    settings = secure_kafka.settings(SUPER, kafka_sasl_mechanism=mechanism)

    assert await missing_topics(settings, [DEVICE_TELEMETRY]) == []
    async with positioned_consumer(settings) as consumer:
        assert DEVICE_TELEMETRY in (await consumer._client.fetch_all_metadata()).topics()


async def test_a_client_certificate_works_for_both_clients(secure_kafka: SecureKafka) -> None:
    settings = secure_kafka.settings_of_certificate(SUPER)

    assert await missing_topics(settings, [DEVICE_TELEMETRY]) == []
    async with positioned_consumer(settings) as consumer:
        assert DEVICE_TELEMETRY in (await consumer._client.fetch_all_metadata()).topics()


def wrong_password(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_password="guessed")


def no_such_user(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_username="nobody")


def wrong_authority(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_ca_file=kafka.strangers.ca_file)


def wrong_name(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_bootstrap_servers=kafka.bootstrap.replace("127.0.0.1", "localhost"))


def broker_expired(kafka: SecureKafka) -> Settings:
    return kafka.settings_of_certificate(SUPER, kafka_bootstrap_servers=kafka.expired)


def no_certificate(kafka: SecureKafka) -> Settings:
    return kafka.settings_of_certificate(SUPER, kafka_cert_file=None, kafka_key_file=None)


def certificate_of_strangers(kafka: SecureKafka) -> Settings:
    cert, key = kafka.strangers.of("client", file="super", cn=SUPER)
    return kafka.settings_of_certificate(SUPER, kafka_cert_file=cert, kafka_key_file=key)


def without_tls(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_security_protocol="SASL_PLAINTEXT", kafka_ca_file=None)


def without_login(kafka: SecureKafka) -> Settings:
    return kafka.settings(SUPER, kafka_security_protocol="SSL", kafka_username=None, kafka_password=None)


REFUSED: list[tuple[Callable[[SecureKafka], Settings], str]] = [
    (wrong_password, "refuses the login of EMS_KAFKA_USERNAME=super"),
    (no_such_user, "refuses the login of EMS_KAFKA_USERNAME=nobody"),
    (wrong_authority, "of no authority that EMS_KAFKA_CA_FILE"),
    (wrong_name, "a certificate that is not of localhost"),
    (broker_expired, "a certificate that has expired"),
    (no_certificate, "wants a certificate of the client; set EMS_KAFKA_CERT_FILE"),
    (certificate_of_strangers, "does not trust the certificate of EMS_KAFKA_CERT_FILE"),
    (without_tls, "wants another protocol than EMS_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"),
    (without_login, "wants another protocol than EMS_KAFKA_SECURITY_PROTOCOL=SSL"),
]


@pytest.mark.parametrize(("wrong", "said"), REFUSED, ids=[each.__name__ for each, _ in REFUSED])
async def test_who_is_not_let_in_is_told_why_by_both_clients(
    secure_kafka: SecureKafka, wrong: Callable[[SecureKafka], Settings], said: str
) -> None:
    settings = wrong(secure_kafka)

    with pytest.raises(KafkaRefusedError) as by_admin:
        await list_topics(settings)
    with pytest.raises(KafkaRefusedError) as by_reader:
        async with positioned_consumer(settings) as consumer:
            await consumer.getmany(timeout_ms=0)

    for refused in (by_admin, by_reader):
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
        assert "s3cret" not in str(refused.value)
        assert "guessed" not in str(refused.value)
