"""Users of the database as statements, and passwords as PostgreSQL stores them."""

import base64

from ems_streams.postgres.roles import Roles, role_statements, scram_verifier


def test_a_verifier_is_that_of_rfc_7677() -> None:
    """The example of the RFC: its server signature follows from the server key alone."""
    import hashlib
    import hmac

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    kind, rounds_and_salt, keys = scram_verifier("pencil", salt).split("$")
    assert (kind, rounds_and_salt) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
    stored, server = (base64.b64decode(each) for each in keys.split(":"))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    assert base64.b64encode(hmac.digest(server, said, "sha256")).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, hmac.digest(stored, said, "sha256"), strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def test_no_password_is_in_the_statements() -> None:
    verifiers = {name: scram_verifier("hunter2-hunter2") for name in Roles().all()}
    statements = role_statements("ems", Roles(), verifiers)
    assert "hunter2" not in "\n".join(statements)
    assert all("\n" not in each and each.endswith(";") for each in statements)
    assert [each for each in statements if "PASSWORD" in each] != []
    assert [each for each in role_statements("ems", Roles()) if "PASSWORD" in each] == []
