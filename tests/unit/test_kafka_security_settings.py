"""Settings of how clients of Kafka connect: what goes together, and what files must be, said in one line before anybody connects."""

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from ems_streams.errors import SettingError
from ems_streams.kafka.security import aiokafka_security, faust_credentials, librdkafka_security
from ems_streams.settings import Settings

LOGIN = {"kafka_security_protocol": "SASL_SSL", "kafka_username": "ems-worker", "kafka_password": "s3cret"}
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


class Files:
    """Files of certificates, made on demand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = self._write("ca.pem", self.authority.cert_pem.bytes())
        self.junk = self._write("junk.pem", b"no certificate\n")
        self.cert, self.key = self.pair("one")
        self.other_cert, self.other_key = self.pair("two")
        self.expired_cert, self.expired_key = self.pair("old", not_after=NOW - DAY)
        self.future_cert, self.future_key = self.pair("future", not_before=NOW + DAY)
        key = load_pem_private_key(self.key.read_bytes(), None)
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"opensesame"))
        self.locked_key = self._write("locked.pem", locked)

    def pair(self, name: str, **times: Any) -> tuple[Path, Path]:
        made = self.authority.issue_cert("client", **times)
        cert = self._write(f"{name}.pem", made.cert_chain_pems[0].bytes())
        return cert, self._write(f"{name}-key.pem", made.private_key_pem.bytes())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("pem"))


def pair(files: Files, **more: Any) -> dict[str, Any]:
    return {"kafka_security_protocol": "SSL", "kafka_cert_file": files.cert, "kafka_key_file": files.key} | more


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "EMS_KAFKA_USERNAME", "must be the name of a Kafka user"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_username": "a"}, "EMS_KAFKA_PASSWORD", "must be set"),
        (LOGIN | {"kafka_password": ""}, "EMS_KAFKA_PASSWORD", "must be set"),
        ({"kafka_username": "a"}, "EMS_KAFKA_SECURITY_PROTOCOL", "must be SASL_SSL, or SASL_PLAINTEXT, since EMS_KAFKA_USERNAME is set"),
        ({"kafka_password": "s3cret"}, "EMS_KAFKA_SECURITY_PROTOCOL", "since EMS_KAFKA_PASSWORD is set"),
        (LOGIN | {"kafka_security_protocol": "SSL"}, "EMS_KAFKA_SECURITY_PROTOCOL", "since EMS_KAFKA_USERNAME is set"),
    ],
)
def test_a_login_that_does_not_fit_together_is_one_line(given: dict[str, Any], setting: str, expected: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.load(**given)

    assert raised.value.setting == setting
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        (lambda f: {"kafka_ca_file": f.ca}, "EMS_KAFKA_SECURITY_PROTOCOL", "must be SSL or SASL_SSL, since EMS_KAFKA_CA_FILE is set"),
        (lambda f: pair(f, kafka_ca_file=f.directory / "none.pem"), "EMS_KAFKA_CA_FILE", "must be a readable file (No such file"),
        (lambda f: pair(f, kafka_ca_file=f.directory), "EMS_KAFKA_CA_FILE", "must be a readable file (Is a directory"),
        (lambda f: pair(f, kafka_ca_file=f.junk), "EMS_KAFKA_CA_FILE", "must be a file of certificates in PEM"),
        (lambda f: pair(f, kafka_ca_file=f.key), "EMS_KAFKA_CA_FILE", "must be a file of certificates in PEM"),
        (lambda f: pair(f, kafka_key_file=None), "EMS_KAFKA_KEY_FILE", "must be the private key of EMS_KAFKA_CERT_FILE"),
        (lambda f: pair(f, kafka_cert_file=None), "EMS_KAFKA_CERT_FILE", "must be the certificate of EMS_KAFKA_KEY_FILE"),
        (lambda f: pair(f, kafka_key_file=f.other_key), "EMS_KAFKA_KEY_FILE", "must be the private key of the certificate in"),
        (lambda f: pair(f, kafka_key_file=f.cert), "EMS_KAFKA_KEY_FILE", "must be a private key in PEM"),
        (lambda f: pair(f, kafka_cert_file=f.expired_cert, kafka_key_file=f.expired_key), "EMS_KAFKA_CERT_FILE", "it expired at"),
        (lambda f: pair(f, kafka_cert_file=f.future_cert, kafka_key_file=f.future_key), "EMS_KAFKA_CERT_FILE", "it begins at"),
        (lambda f: pair(f, kafka_key_file=f.locked_key), "EMS_KAFKA_KEY_PASSWORD", "must be set: the private key has a password"),
        (lambda f: pair(f, kafka_key_file=f.locked_key, kafka_key_password="s3cret"), "EMS_KAFKA_KEY_PASSWORD", "must be the password of"),
        (lambda f: pair(f, kafka_key_password="s3cret"), "EMS_KAFKA_KEY_PASSWORD", "must not be set: the private key has no password"),
        (lambda _: {"kafka_security_protocol": "SSL", "kafka_key_password": "s3cret"}, "EMS_KAFKA_KEY_PASSWORD", "together with"),
    ],
)
def test_a_file_that_cannot_be_what_it_is_set_for_is_one_line(files: Files, given: Any, setting: str, expected: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.load(**given(files))

    assert raised.value.setting == setting
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_settings_that_fit_together_become_options_of_every_client(files: Files) -> None:
    settings = Settings.load(
        **LOGIN, kafka_ca_file=files.ca, kafka_cert_file=files.cert, kafka_key_file=files.locked_key, kafka_key_password="opensesame"
    )

    ours = aiokafka_security(settings)
    context = ours.pop("ssl_context")
    assert ours == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ems-worker", "sasl_plain_password": "s3cret",
    }  # fmt: skip
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert librdkafka_security(settings) == {
        "security.protocol": "SASL_SSL", "enable.ssl.certificate.verification": True, "ssl.endpoint.identification.algorithm": "https",
        "ssl.ca.location": str(files.ca), "ssl.certificate.location": str(files.cert), "ssl.key.location": str(files.locked_key),
        "ssl.key.password": "opensesame", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ems-worker", "sasl.password": "s3cret",
    }  # fmt: skip
    credentials: Any = faust_credentials(settings)
    assert (credentials.protocol.value, credentials.mechanism.value, credentials.ssl_context) == ("SASL_SSL", "SCRAM-SHA-512", context)
    assert "s3cret" not in repr(settings) + repr(credentials)


def test_without_settings_nothing_is_encrypted_and_nobody_logs_in() -> None:
    settings = Settings.load()

    assert aiokafka_security(settings) == {"security_protocol": "PLAINTEXT"}
    assert librdkafka_security(settings) == {"security.protocol": "PLAINTEXT"}
    assert faust_credentials(settings) is None


def test_secrets_come_from_files_and_config_show_hides_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ems_streams.cli.config import effective

    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("EMS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("EMS_KAFKA_USERNAME", "ems-worker")
    monkeypatch.setenv("EMS_KAFKA_PASSWORD_FILE", str(secret))

    settings = Settings.load()

    assert settings.kafka_password is not None
    assert settings.kafka_password.get_secret_value() == "s3cret"
    shown = {each.name: (each.value, each.source) for each in effective(settings)}
    assert shown["EMS_KAFKA_PASSWORD"] == ("***", "environment EMS_KAFKA_PASSWORD_FILE")
    assert "s3cret" not in repr(shown)
