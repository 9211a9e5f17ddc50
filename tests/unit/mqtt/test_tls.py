"""What an MQTT client trusts and shows: combinations that cannot be are one line at the start."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from ems_streams.dev.certificates import DEVICE, Pair, issue, save
from ems_streams.errors import SettingError
from ems_streams.mqtt.endpoint import Login, TlsFiles, broker_of
from ems_streams.settings import Settings

DAY = timedelta(days=1)
URL = "mqtts://broker.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> Pair:
    return save(issue(authority, "INV-001", DEVICE), tmp_path, "device")


def problem(**settings: object) -> str:
    with pytest.raises(SettingError) as wrong:
        broker_of(Settings.load(**{"mqtt_url": URL, **settings}))
    assert "\n" not in str(wrong.value)
    return str(wrong.value)


def test_a_certificate_is_shown_and_names_are_verified(pair: Pair, authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    endpoint, login = broker_of(Settings.load(mqtt_url=URL, mqtt_ca_file=ca, mqtt_cert_file=pair.cert, mqtt_key_file=pair.key))
    context = endpoint.ssl_context()
    assert context is not None
    assert context.check_hostname
    assert endpoint.shows
    assert login == Login()
    # Whoever names an authority trusts no other.
    assert len(context.get_ca_certs()) == 1


def test_a_certificate_and_its_key_go_together(pair: Pair) -> None:
    assert (
        problem(mqtt_cert_file=pair.cert)
        == f"EMS_MQTT_CERT_FILE={str(pair.cert)!r}: needs EMS_MQTT_KEY_FILE, the private key of that certificate"
    )
    assert problem(mqtt_key_file=pair.key) == f"EMS_MQTT_KEY_FILE={str(pair.key)!r}: needs EMS_MQTT_CERT_FILE, the certificate of that key"


@pytest.mark.parametrize("setting", ["mqtt_ca_file", "mqtt_cert_file"])
def test_files_of_tls_without_tls_are_a_mistake(pair: Pair, setting: str) -> None:
    given = {setting: pair.cert} | ({"mqtt_key_file": pair.key} if setting == "mqtt_cert_file" else {})
    said = problem(mqtt_url="mqtt://user:hunter2@broker.example", **given)
    assert "is used with TLS only, and EMS_MQTT_URL is mqtt://broker.example:1883: make it mqtts://" in said
    assert "hunter2" not in said


def test_a_file_that_cannot_be_read(pair: Pair, tmp_path: Path) -> None:
    assert "EMS_MQTT_CA_FILE='/nowhere.pem': must be a readable file" in problem(mqtt_ca_file="/nowhere.pem")
    assert "EMS_MQTT_KEY_FILE" in problem(mqtt_cert_file=pair.cert, mqtt_key_file=tmp_path)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    assert "EMS_MQTT_CERT_FILE" in problem(mqtt_cert_file=text, mqtt_key_file=pair.key)
    assert "EMS_MQTT_CA_FILE" in problem(mqtt_ca_file=text)


def test_the_key_of_another_certificate(pair: Pair, authority: trustme.CA, tmp_path: Path) -> None:
    other = save(issue(authority, "INV-002", DEVICE), tmp_path, "other")
    said = problem(mqtt_cert_file=pair.cert, mqtt_key_file=other.key)
    assert said.startswith(f"EMS_MQTT_KEY_FILE={str(other.key)!r}: must be the private key of the certificate")


def test_certificates_that_are_over_or_to_come(authority: trustme.CA, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    over = save(issue(authority, "INV-001", DEVICE, begins=now - 2 * DAY, ends=now - DAY), tmp_path, "over")
    assert f"expired at {now - DAY:%Y-%m-%d}" in problem(mqtt_cert_file=over.cert, mqtt_key_file=over.key)
    early = save(issue(authority, "INV-001", DEVICE, begins=now + DAY, ends=now + 2 * DAY), tmp_path, "early")
    assert "look at the clock" in problem(mqtt_cert_file=early.cert, mqtt_key_file=early.key)


def test_a_key_with_a_password(pair: Pair, tmp_path: Path) -> None:
    key = load_pem_private_key(pair.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    given = {"mqtt_cert_file": pair.cert, "mqtt_key_file": locked}
    assert "EMS_MQTT_KEY_PASSWORD" in problem(**given)
    wrong = problem(**given, mqtt_key_password="wrong-one")
    assert "EMS_MQTT_KEY_PASSWORD='***'" in wrong
    assert "wrong-one" not in wrong
    assert broker_of(Settings.load(mqtt_url=URL, mqtt_key_password=SecretStr("hunter2"), **given))[0].shows


def test_a_certificate_that_tls_cannot_be_spoken_with(tmp_path: Path) -> None:
    """Its files are all right, and its key is shorter than OpenSSL takes."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "INV-001")])
    now = datetime.now(UTC)
    weak = x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY).sign(key, SHA256())
    cert, key_file = tmp_path / "weak.pem", tmp_path / "weak-key.pem"
    cert.write_bytes(weak.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    said = problem(mqtt_cert_file=cert, mqtt_key_file=key_file)
    assert said == f"EMS_MQTT_CERT_FILE={str(cert)!r}: must be a certificate that TLS can be spoken with (ee key too small)"


def test_the_password_of_nobody() -> None:
    assert problem(mqtt_password="hunter2") == "EMS_MQTT_PASSWORD='***': needs EMS_MQTT_USERNAME, whose password it is"
    # The URL may have the name, and a file the password.
    _, login = broker_of(Settings.load(mqtt_url="mqtts://ems@broker.example", mqtt_password="hunter2"))
    assert (login.username, login.password) == ("ems", "hunter2")


def test_nothing_secret_is_shown_of_them() -> None:
    assert "hunter2" not in repr(TlsFiles(key=Path("key.pem"), key_password="hunter2"))
