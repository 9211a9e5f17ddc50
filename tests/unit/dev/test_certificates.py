"""Certificates and secrets of the secure dev stack: closed to others, made once, made anew in time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from ems_streams.dev.certificates import LIFETIME, Certificates, subject
from ems_streams.dev.private_files import SecretFiles, write_private

DAY = timedelta(days=1)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def not_after(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    certificates = Certificates(tmp_path / "made")
    certificates.server(), certificates.client("ems-worker"), certificates.java_stores(certificates.directory, "secret-1")
    secrets = SecretFiles(tmp_path / "secrets")
    secrets.path("kafka-worker"), secrets.put("url", "postgresql://u:p@h/d")
    for directory in (certificates.directory, secrets.directory):
        assert mode(directory) == 0o700
        assert {mode(path) for path in directory.iterdir()} == {0o600}


def test_they_are_made_once(tmp_path: Path) -> None:
    first = Certificates(tmp_path).client("ems-worker").cert.read_bytes()
    ca = (tmp_path / "ca.pem").read_bytes()
    again = Certificates(tmp_path)
    assert again.client("ems-worker").cert.read_bytes() == first
    assert again.ca.read_bytes() == ca
    assert SecretFiles(tmp_path / "s").value("a") == SecretFiles(tmp_path / "s").value("a") != SecretFiles(tmp_path / "s").value("b")


@pytest.mark.parametrize(("days", "renewed"), [(59, False), (61, True), (200, True)])
def test_they_are_made_anew_before_they_expire(tmp_path: Path, days: int, renewed: bool) -> None:
    now = datetime.now(UTC)
    before = Certificates(tmp_path, lambda: now).server().cert.read_bytes()
    later = Certificates(tmp_path, lambda: now + days * DAY)
    assert (later.server().cert.read_bytes() != before) is renewed
    assert not_after(later.server().cert) > now + days * DAY + LIFETIME / 4
    assert later.ca.read_bytes() == Certificates(tmp_path).ca.read_bytes(), "the authority holds for longer"


def test_with_another_authority_all_are_made_anew(tmp_path: Path) -> None:
    Certificates(tmp_path).client("ems-worker")
    (tmp_path / "ca-key.pem").unlink()
    certificates = Certificates(tmp_path)
    issued = x509.load_pem_x509_certificate(certificates.client("ems-worker").cert.read_bytes())
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(certificates.ca.read_bytes()))


def test_only_the_server_has_names_of_hosts(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)

    def names(path: Path) -> list[str]:
        found = x509.load_pem_x509_certificate(path.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return [str(each.value) for each in found.value]

    assert names(certificates.server().cert) == ["localhost", "127.0.0.1", "::1"]
    assert names(certificates.client("localhost").cert) == ["process.ems.invalid"]


def test_the_subject_is_as_java_writes_it(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(Certificates(tmp_path).devices(["INV_001:a.b"])["INV_001:a.b"].cert.read_bytes())
    written = ", ".join(f"{each.rfc4514_attribute_name}={each.value}" for each in reversed(list(certificate.subject)))
    assert written == subject("INV_001:a.b", "device")


def test_java_stores_have_the_key_and_whom_to_trust(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    keys, trust = certificates.java_stores(tmp_path, "secret-1")
    key, certificate, _ = pkcs12.load_key_and_certificates(keys.read_bytes(), b"secret-1")
    assert key is not None
    assert certificate == x509.load_pem_x509_certificate(certificates.server().cert.read_bytes())
    assert len(pkcs12.load_pkcs12(trust.read_bytes(), b"secret-1").additional_certs) == 1


def test_a_file_is_replaced_in_one_go_and_closed_to_others(tmp_path: Path) -> None:
    path = write_private(tmp_path / "file", b"old")
    path.chmod(0o644)
    with path.open("rb") as reading:
        write_private(path, b"new")
        assert reading.read() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
