"""Why Kafka lets us not in, or not do something, in one line with what to do about it.

The client logs why a connection is refused and then says only that it has none. Here every refused connection is remembered, so that whoever finds Kafka
away can tell a wrong password, or a certificate that is not trusted, from a broker that is not there.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from ems_streams.errors import DependencyError
from ems_streams.kafka.knocking import knock
from ems_streams.kafka.security import aiokafka_security
from ems_streams.settings import Settings

KNOCK_TIMEOUT_S: Final = 3.0
_FRESH_S: Final = 30.0
_MARK: Final = "_ems_notes_refusals"
_NOT_ALLOWED = (
    (TopicAuthorizationFailedError, "use the topic"),
    (GroupAuthorizationFailedError, "be in the consumer group"),
    (TransactionalIdAuthorizationFailed, "write with the transactional id"),
    (ClusterAuthorizationFailedError, "do that with the cluster"),
)
# OpenSSL's numbers of what a certificate can lack.
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64


class KafkaRefusedError(DependencyError):
    """Kafka is there and lets us not in: as good as away until somebody mends the credentials, here or there."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    address: str
    protocol: str
    user: str | None
    context: ssl.SSLContext | None
    error: BaseException
    at_s: float


_refusals: dict[str, _Refusal] = {}


def note_refusals() -> None:
    """Remember why connections of this process are refused, from now on; may be called again."""
    own = AIOKafkaConnection.connect
    if hasattr(own, _MARK):
        return

    @wraps(own)
    async def connect(self: AIOKafkaConnection) -> Any:
        try:
            connected = await own(self)
        except (KafkaError, OSError) as error:
            _note(self, error)
            raise
        _note(self, None)
        return connected

    setattr(connect, _MARK, True)
    AIOKafkaConnection.connect = connect


def refusal_of(settings: Settings) -> str | None:
    """Why Kafka has lately let no client with these settings in, with what to do; None when none was refused. From memory."""
    security = aiokafka_security(settings)
    ours = (security["security_protocol"], security.get("sasl_plain_username"), security.get("ssl_context"))
    since_s = time.monotonic() - _FRESH_S
    servers = {f"{host}:{port}" for host, port, _ in collect_hosts(settings.kafka_bootstrap_servers)}
    found = [
        each
        for each in _refusals.values()
        if each.at_s > since_s
        and (each.protocol, each.user, each.context) == ours
        # What brokers advertise may be other addresses: one with our very context of TLS is ours.
        and (each.address in servers or each.context is not None)
    ]
    return _words(max(found, key=lambda each: each.at_s), settings) if found else None


def unreachable(settings: Settings) -> DependencyError:
    """The error of every client of ours that gets no answer from Kafka: that it is away, or why it lets us not in.

    Outside of an event loop it tries to connect once more to find out, which may take `KNOCK_TIMEOUT_S`; on one see `why_unreachable`.
    """
    if not _on_a_loop():
        asyncio.run(_knock(settings))
    return _as_known(settings)


async def why_unreachable(settings: Settings) -> DependencyError:
    """As `unreachable`, on an event loop: tries to connect once more, too."""
    await _knock(settings)
    return _as_known(settings)


def _as_known(settings: Settings) -> DependencyError:
    refused = refusal_of(settings)
    if refused is not None:
        return KafkaRefusedError(refused)
    return DependencyError(f"Kafka does not answer at {settings.kafka_bootstrap_servers} (EMS_KAFKA_BOOTSTRAP_SERVERS)")


def raise_if_refused(settings: Settings) -> None:
    """Raise `KafkaRefusedError` if Kafka lets us not in; not for an event loop. Without credentials nothing is tried."""
    if settings.kafka_security_protocol == "PLAINTEXT" or _on_a_loop():
        return
    asyncio.run(_knock(settings))
    if (refused := refusal_of(settings)) is not None:
        raise KafkaRefusedError(refused)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def told(error: BaseException) -> str:
    """An error of a client for people: what is not allowed with what to do about it, anything else as it is."""
    for each in _causes(error):
        for kind, doing in _NOT_ALLOWED:
            if isinstance(each, kind):
                return not_allowed(f"{doing} {each.args[0] if each.args else ''}".rstrip())
    return repr(error)


def not_allowed(what: str) -> str:
    """That a right is missing, with what to do about it."""
    return f"Kafka does not allow us to {what}; `ems-streams acls plan` shows which rights are missing, `acls apply` gives them"


async def _knock(settings: Settings) -> None:
    """Connect to each server once, to all at once; what they say is remembered."""
    note_refusals()
    security = aiokafka_security(settings)

    async def knock_at(host: str, port: int) -> None:
        try:
            await knock(host, port, security, KNOCK_TIMEOUT_S)
        except KafkaConnectionError as error:
            _remember(f"{host}:{port}", security, error)
        except (KafkaError, OSError, TimeoutError):
            pass

    await asyncio.gather(*(knock_at(host, port) for host, port, _ in collect_hosts(settings.kafka_bootstrap_servers)))


def _note(connection: AIOKafkaConnection, error: BaseException | None) -> None:
    security = {
        "security_protocol": connection._security_protocol,
        "sasl_plain_username": connection._sasl_plain_username,
        "ssl_context": connection._ssl_context,
    }
    _remember(f"{connection.host}:{connection.port}", security, error)


def _remember(address: str, security: Mapping[str, Any], error: BaseException | None) -> None:
    if error is None or not _is_refusal(error):
        _refusals.pop(address, None)
        return
    known = (security["security_protocol"], security.get("sasl_plain_username"), security.get("ssl_context"))
    _refusals[address] = _Refusal(address, *known, error, time.monotonic())


def _is_refusal(error: BaseException) -> bool:
    # One that takes connections and closes them at once wants another protocol, if it is not just stopping.
    kinds = (SaslAuthenticationFailed, UnsupportedSaslMechanismError, IllegalSaslStateError, ssl.SSLError, KafkaConnectionError)
    return any(isinstance(each, kinds) for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # Not what an error came up beside: we ask why Kafka is away while we deal with its being away.
    while error is not None:
        yield error
        error = error.__cause__


def _words(refusal: _Refusal, settings: Settings) -> str:
    server = f"Kafka at {refusal.address}"
    for each in _causes(refusal.error):
        if isinstance(each, SaslAuthenticationFailed):
            return (
                f"{server} refuses the login of EMS_KAFKA_USERNAME={settings.kafka_username} with {settings.kafka_sasl_mechanism}: wrong password, or "
                "no such user; mend EMS_KAFKA_PASSWORD or EMS_KAFKA_PASSWORD_FILE, or set the user's password at Kafka anew"
            )
        if isinstance(each, UnsupportedSaslMechanismError):
            return f"{server} does not take EMS_KAFKA_SASL_MECHANISM={settings.kafka_sasl_mechanism}; set it to one that the listener has"
        if isinstance(each, ssl.SSLCertVerificationError):
            return _of_its_certificate(server, refusal.address, each, settings)
        if isinstance(each, ssl.SSLError):
            return _of_tls(server, each, settings)
    return (
        f"{server} takes connections and closes them at once, as a listener does that wants another protocol than "
        f"EMS_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}, or a broker that is just stopping"
    )


def _of_its_certificate(server: str, address: str, error: ssl.SSLCertVerificationError, settings: Settings) -> str:
    if error.verify_code == _EXPIRED:
        return f"{server} shows a certificate that has expired; renew the broker's certificate"
    if error.verify_code == _NOT_YET_VALID:
        return f"{server} shows a certificate that is not valid yet; look at the clocks of both machines"
    if error.verify_code in {_OTHER_NAME, _OTHER_ADDRESS}:
        name = address.rpartition(":")[0]
        return (
            f"{server} shows a certificate that is not of {name}; use a name that it is of (EMS_KAFKA_BOOTSTRAP_SERVERS, and the broker's "
            f"advertised.listeners), or give the broker one that has {name} among its names"
        )
    authorities = "this machine trusts" if settings.kafka_ca_file is None else f"EMS_KAFKA_CA_FILE={settings.kafka_ca_file} has"
    return (
        f"{server} shows a certificate of no authority that {authorities} ({error.verify_message}); set EMS_KAFKA_CA_FILE to the broker's"
    )


def _of_tls(server: str, error: ssl.SSLError, settings: Settings) -> str:
    reason = (error.reason or str(error)).upper()
    if "CERTIFICATE_REQUIRED" in reason or (
        settings.kafka_cert_file is None and ("BAD_CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason)
    ):
        return f"{server} wants a certificate of the client; set EMS_KAFKA_CERT_FILE and EMS_KAFKA_KEY_FILE"
    if "CERTIFICATE_EXPIRED" in reason:
        return f"{server} says that the certificate of EMS_KAFKA_CERT_FILE={settings.kafka_cert_file} has expired; renew it"
    if "UNKNOWN_CA" in reason or "CERTIFICATE" in reason:
        return f"{server} does not trust the certificate of EMS_KAFKA_CERT_FILE={settings.kafka_cert_file}; use one of an authority that it knows"
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason or "UNKNOWN_PROTOCOL" in reason:
        return f"{server} does not speak TLS there; set EMS_KAFKA_BOOTSTRAP_SERVERS to its listener with TLS, or EMS_KAFKA_SECURITY_PROTOCOL to its own"
    return f"{server} and we do not agree on TLS ({reason.lower().replace('_', ' ')})"
