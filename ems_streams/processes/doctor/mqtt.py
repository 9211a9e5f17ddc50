"""Checks of the MQTT broker: reached, logged in, able to do what the ingress needs; certificates of TLS."""

import ssl
from typing import Any

from ems_streams.errors import SettingError
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.mqtt.probe import BrokerUnusableError, Trouble, probe_broker
from ems_streams.ops.doctor.checks import Report
from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.setting_findings import invalid_settings
from ems_streams.processes.doctor.certificates import CONNECT_TIMEOUT_S, Ends, expiring, good_for, own_ends, shown_end_s
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.kafka import reach
from ems_streams.settings import Settings

_SETTING = "EMS_MQTT_URL"
_KINDS = {
    Trouble.AWAY: ("mqtt-unreachable", "an answer"),
    # Something has taken the connection before: it listens, but says nothing in this protocol.
    Trouble.SILENT: ("mqtt-protocol", "an answer of MQTT 5"),
    Trouble.LOGIN: ("mqtt-login", "a login that the broker takes"),
    Trouble.TLS: ("mqtt-tls", "a connection by TLS that both sides trust"),
    Trouble.PROTOCOL: ("mqtt-protocol", "a connection of MQTT 5"),
}


async def check_mqtt(context: Context) -> Report:
    """Whether the broker takes us, and can do what is needed."""
    settings = context.settings
    try:
        endpoint, login = broker_of(settings)
    except SettingError as error:
        return Report(invalid_settings([error]), usable=False)
    facts: dict[str, Any] = {"broker": str(endpoint), "user": login.username or ("by certificate" if endpoint.shows else "anonymous")}
    trouble = await reach(endpoint.host, endpoint.port, _SETTING)
    if trouble is not None:
        return Report([_of_mqtt(trouble)], facts, usable=False)
    try:
        broker = await probe_broker(settings, CONNECT_TIMEOUT_S)
    except BrokerUnusableError as error:
        kind, expected = _KINDS[error.trouble]
        return Report([finding(kind, f"{endpoint} cannot be used", found=str(error), expected=expected)], facts, usable=False)
    findings = []
    if not broker.shared_subscriptions:
        findings.append(finding("mqtt-shared", f"{endpoint} has no shared subscriptions", found="not available", expected="available"))
    kept_s = broker.session_expiry_s
    if kept_s is not None and kept_s < settings.mqtt_session_expiry_s:
        expected = f"EMS_MQTT_SESSION_EXPIRY_S={settings.mqtt_session_expiry_s}"
        what = "the broker keeps messages for a shorter time than asked for"
        findings.append(finding("mqtt-session", what, found=f"{kept_s} s", expected=expected, seconds=kept_s))
    facts |= {"roundTripMs": round(broker.round_trip_s * 1000, 1), "receiveMax": broker.receive_max}
    return Report(findings, facts)


async def check_tls(context: Context) -> Report:
    """Whether the certificate of an mqtts broker is trusted, and how long it is good, as those that we show to it and at the gateway."""
    settings, now_s = context.settings, context.now_s()
    ends = own_ends({"EMS_MQTT_CERT_FILE": settings.mqtt_cert_file, "EMS_GATEWAY_CERT_FILE": settings.gateway_cert_file})
    findings, facts = await _look_at_broker(settings, ends)
    return Report([*findings, *expiring(ends, now_s)], {**facts, **good_for(ends, now_s)})


async def _look_at_broker(settings: Settings, ends: Ends) -> tuple[list[Finding], dict[str, str]]:
    """Note when its certificate ends; otherwise what is wrong with it, or why there is none."""
    try:
        endpoint, _ = broker_of(settings)
    except SettingError:
        return [], {"mqtt": "the settings cannot be used"}
    tls = endpoint.ssl_context()
    if tls is None:
        return [], {"mqtt": "without TLS"}
    address = f"{endpoint.host}:{endpoint.port}"
    try:
        ends[address] = await shown_end_s(endpoint.host, endpoint.port, tls)
    except ssl.SSLCertVerificationError as error:
        what, expected = f"the certificate of {address} is not trusted", "a trusted certificate of that name"
        return [finding("tls-untrusted", what, found=error.verify_message, expected=expected, address=address)], {}
    except OSError as error:
        return [], {"mqtt": f"{address}: no TLS connection ({_tls_words(error)})"}
    return [], {}


def _of_mqtt(trouble: Finding) -> Finding:
    """What keeps a connection from being made, as a finding of this server."""
    if trouble.code == "dns-unknown":
        return trouble
    return finding("mqtt-unreachable", trouble.what, found=trouble.found, expected=trouble.expected)


def _tls_words(error: BaseException) -> str:
    return getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error) or type(error).__name__
