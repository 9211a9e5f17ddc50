"""Why a broker cannot be used, in one sentence that says what to do; for logs, readiness and doctor."""

import ssl
from typing import Final

import aiomqtt
import mqtt5

from ems_streams.mqtt.endpoint import Endpoint, Login

_EXPIRED, _NOT_YET = 10, 9
_NAMES: Final = frozenset({62, 63, 64})  # host, e-mail and address that the certificate is not for
_SELF_SIGNED: Final = frozenset({18, 19, 20, 21})  # no way from the certificate to an authority that is trusted

_ALERTS: Final = (
    ("CERTIFICATE_REQUIRED", "no_certificate"),
    ("CERTIFICATE_EXPIRED", "the broker takes the client's certificate for expired: renew it and set EMS_MQTT_CERT_FILE and EMS_MQTT_KEY_FILE to it"),
    ("CERTIFICATE_REVOKED", "the broker says that the client's certificate is revoked: get another one"),
    ("UNKNOWN_CA", "foreign"),
    ("CERTIFICATE_UNKNOWN", "foreign"),
    ("BAD_CERTIFICATE", "foreign"),
    ("HANDSHAKE_FAILURE", "no_certificate"),
    ("WRONG_VERSION_NUMBER", "no_tls"),
    ("UNEXPECTED_MESSAGE", "no_tls"),
)  # fmt: skip
_NO_TLS = "what listens there does not speak TLS: set EMS_MQTT_URL to the port of the broker with TLS, or to mqtt://"
_NO_CERTIFICATE = "the broker wants a certificate of the client: set EMS_MQTT_CERT_FILE and EMS_MQTT_KEY_FILE"
_FOREIGN = "the broker does not accept the client's certificate: EMS_MQTT_CERT_FILE must be of an authority that the broker trusts, and not expired"
_LOGINS: Final = {
    mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD.name: "it does not know that name with that password",
    mqtt5.ConnAckReasonCode.NOT_AUTHORIZED.name: "it does not let that user in",
    mqtt5.ConnAckReasonCode.BANNED.name: "that user is banned",
}


def refusal(error: BaseException, endpoint: Endpoint, login: Login, greeting: mqtt5.ConnAckPacket | None, *, asked: bool) -> str:
    """What keeps a client from using the broker.

    Args:
        error: What opening the connection, or subscribing, has raised.
        greeting: What the broker had answered, if it had.
        asked: Whether it had been asked for anything: the handshake of TLS, if there is one, was over then.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrusted(error, endpoint)
    if isinstance(error, ssl.SSLError):
        return _alerted(error, endpoint)
    if isinstance(error, aiomqtt.NegativeAckError) and greeting is not None and greeting.reason_code.name in _LOGINS:
        return _not_let_in(greeting, endpoint, login)
    if endpoint.tls and greeting is None and isinstance(error, aiomqtt.ConnectError | ConnectionResetError | EOFError):
        if not asked:
            return f"{endpoint} broke off the handshake of TLS: {_NO_TLS}"
        return f"{endpoint} closed the connection before it answered: {_alert_lost(endpoint)}"
    if isinstance(error, TimeoutError):
        return f"{endpoint} does not answer in time"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # The words of the system do not always name what was tried, above all for a name that nobody knows.
    return f"{said}; EMS_MQTT_URL is {endpoint}" if isinstance(error, OSError) else said


def _distrusted(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> str:
    why, code = error.verify_message, error.verify_code
    if code in _NAMES:
        do = f"use a name in EMS_MQTT_URL that the certificate has, or give the broker a certificate for {endpoint.host}"
    elif code == _EXPIRED:
        do = "renew the certificate of the broker"
    elif code == _NOT_YET:
        do = "look at the clock of this machine, and at the broker's certificate"
    elif code in _SELF_SIGNED:
        do = "set EMS_MQTT_CA_FILE to the authority that has signed it"
    else:
        do = "give the broker a certificate that can be verified"
    return f"the certificate of {endpoint} is not trusted ({why.rstrip('.')}): {do}"


def _alerted(error: ssl.SSLError, endpoint: Endpoint) -> str:
    reason = error.reason or ""
    for part, words in _ALERTS:
        if part in reason:
            said = {"no_certificate": _NO_CERTIFICATE, "foreign": _FOREIGN if endpoint.shows else _NO_CERTIFICATE, "no_tls": _NO_TLS}.get(
                words, words
            )
            return f"{said} ({endpoint}: {reason.lower().replace('_', ' ')})"
    return f"TLS with {endpoint} failed: {reason.lower().replace('_', ' ') or error}"


def _not_let_in(greeting: mqtt5.ConnAckPacket, endpoint: Endpoint, login: Login) -> str:
    who = f"user {login.username}" if login.username else "the certificate" if endpoint.shows else "a client without a name"
    code = greeting.reason_code.name
    said = f"{code}: {greeting.reason_str}" if greeting.reason_str else code
    do = (
        "set EMS_MQTT_USERNAME and EMS_MQTT_PASSWORD_FILE to what the broker knows"
        if login.username or not endpoint.shows
        else "make its name known to the broker, or set EMS_MQTT_USERNAME and EMS_MQTT_PASSWORD_FILE"
    )
    why = _LOGINS[code] if login.username else "it does not know who that is"
    return f"{endpoint} refuses {who}, {why} ({said}): {do}"


def _alert_lost(endpoint: Endpoint) -> str:
    # With TLS 1.3 a client learns only afterwards that its certificate was not taken, and the reason may be lost on the way.
    return _FOREIGN if endpoint.shows else f"{_NO_CERTIFICATE}, if it requires one"
