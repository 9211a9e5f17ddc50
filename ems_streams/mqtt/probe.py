"""Asks the MQTT broker once what it can: connects as a stranger with no session, and leaves again."""

import asyncio
import socket
import ssl
import uuid
from dataclasses import dataclass
from enum import StrEnum

import aiomqtt
import mqtt5

from ems_streams.mqtt.connection import Connection
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.settings import Settings

_KEEP_ALIVE_S = 15
_REFUSED_LOGINS = (
    mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt5.ConnAckReasonCode.NOT_AUTHORIZED,
    mqtt5.ConnAckReasonCode.BANNED,
)


class Trouble(StrEnum):
    """Why a broker cannot be used."""

    AWAY = "away"
    SILENT = "silent"
    LOGIN = "login"
    TLS = "tls"
    PROTOCOL = "protocol"


class BrokerUnusableError(Exception):
    """The broker cannot be used; `trouble` is the kind, the text the evidence."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class BrokerAbilities:
    """What the broker said of itself.

    Attributes:
        session_expiry_s: The longest that it keeps a session; None when as long as asked for.
    """

    shared_subscriptions: bool
    receive_max: int
    session_expiry_s: int | None
    round_trip_s: float


async def probe_broker(settings: Settings, timeout_s: float) -> BrokerAbilities:
    """Connect, ping, disconnect; raises `BrokerUnusableError`, and `SettingError` for files of TLS that cannot be used."""
    endpoint, login = broker_of(settings)
    connection = Connection(
        endpoint,
        login,
        f"ems-doctor-{uuid.uuid4().hex[:12]}",
        # The session is asked for as the ingress asks, so that the broker says its limit; it ends with the good-bye.
        clean_start=True,
        session_expiry_s=settings.mqtt_session_expiry_s,
        keep_alive_s=_KEEP_ALIVE_S,
    )
    loop = asyncio.get_running_loop()
    try:
        await connection.open(timeout_s)
    except aiomqtt.NegativeAckError as error:
        raise _refused(connection, error) from None
    except ssl.SSLError as error:
        raise BrokerUnusableError(_of_tls(error), connection.why(error)) from None
    except TimeoutError:
        raise BrokerUnusableError(Trouble.SILENT, f"no answer within {timeout_s:g} s") from None
    except (ConnectionRefusedError, socket.gaierror) as error:
        raise BrokerUnusableError(Trouble.AWAY, str(error)) from None
    except (aiomqtt.ProtocolError, aiomqtt.ConnectError, ConnectionResetError, EOFError) as error:
        raise BrokerUnusableError(Trouble.TLS if endpoint.tls and connection.asked else Trouble.PROTOCOL, connection.why(error)) from None
    try:
        started_s = loop.time()
        async with asyncio.timeout(timeout_s):
            await connection.ping()
        greeting = connection.greeting
        assert greeting is not None
        return BrokerAbilities(
            greeting.shared_subscription_available, greeting.receive_max, greeting.session_expiry_interval, loop.time() - started_s
        )
    finally:
        await connection.close(forget_session=True)


def _of_tls(error: ssl.SSLError) -> Trouble:
    """Whether one of the two does not trust the other; otherwise there is no TLS at all."""
    trusting = not isinstance(error, ssl.SSLCertVerificationError) and "ALERT" not in (error.reason or "")
    return Trouble.PROTOCOL if trusting else Trouble.TLS


def _refused(connection: Connection, error: Exception) -> BrokerUnusableError:
    greeting = connection.greeting
    if greeting is None or greeting.reason_code in _REFUSED_LOGINS:
        return BrokerUnusableError(Trouble.PROTOCOL if greeting is None else Trouble.LOGIN, connection.why(error))
    code = greeting.reason_code
    return BrokerUnusableError(Trouble.PROTOCOL, f"{code.name}: {greeting.reason_str}" if greeting.reason_str else code.name)
