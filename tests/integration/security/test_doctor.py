"""Doctor on a secured Kafka: credentials, certificates and rights, each found with what to do about it."""

import datetime as dt
from typing import Any

import pytest

from ems_streams.ops.doctor.findings import Finding
from ems_streams.pem_files import expires_at
from ems_streams.processes.doctor.run import diagnose
from ems_streams.processes.rights import Role
from ems_streams.settings import Settings
from tests.support.secure_kafka import SUPER, SecureKafka, user_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def look(settings: Settings, *only: str, **context: Any) -> list[Finding]:
    return (await diagnose(settings, only, **context)).findings


async def test_a_login_that_is_refused(secure_kafka: SecureKafka) -> None:
    findings = await look(secure_kafka.settings(SUPER, kafka_password="guessed"), "kafka", "acls")

    assert [each.code for each in findings] == ["kafka-credentials"]
    assert "refuses the login of EMS_KAFKA_USERNAME=super" in findings[0].found
    assert "guessed" not in repr(findings)


@pytest.mark.parametrize("role", list(Role))
async def test_every_principal_has_what_it_needs(secure_kafka: SecureKafka, role: Role) -> None:
    assert await look(secure_kafka.settings(user_of(role)), "kafka", "kafka-tls", "acls") == []


async def test_rights_that_a_principal_lacks_are_named(secure_kafka: SecureKafka) -> None:
    findings = await look(secure_kafka.settings(user_of(Role.SINK), application_id="other"), "acls")

    assert [each.code for each in findings] == ["acls-lacking"]
    assert "group other-sink" in findings[0].found
    assert findings[0].command == ("ems-streams", "acls", "apply")


async def test_the_admin_sees_what_all_principals_lack(secure_kafka: SecureKafka) -> None:
    findings = await look(secure_kafka.settings(user_of(Role.ADMIN), application_id="other"), "acls")

    assert {each.code for each in findings} == {"acls-lacking", "acls-missing", "acls-superfluous"}


async def test_certificates_that_run_out_are_named_a_month_before(secure_kafka: SecureKafka) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=20)
    cert, key = secure_kafka.certificates.of("client", file="soon", cn="ems-worker", expires=soon)
    settings = secure_kafka.settings_of_certificate("ems-worker", kafka_cert_file=cert, kafka_key_file=key)

    findings = await look(settings, "kafka-tls")
    assert [each.code for each in findings] == ["tls-expiring"]
    assert str(cert) in findings[0].what

    ends = expires_at(secure_kafka.security.cert_file)
    assert ends is not None
    late = ends - dt.timedelta(days=10)
    findings = await look(secure_kafka.settings(SUPER), "kafka-tls", now_s=late.timestamp)
    assert [each.what for each in findings] == [f"the certificate of {secure_kafka.bootstrap} runs out"]
    assert "10.0 days left" in findings[0].found
