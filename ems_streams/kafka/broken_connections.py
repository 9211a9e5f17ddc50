"""A broken connection is an error of Kafka, also where uvloop says it in another way.

Between the end of a connection and the moment at which aiokafka is told of it, uvloop answers a write with a `RuntimeError`. aiokafka expects an
`OSError` there: the other one ends the task that keeps the metadata of its client, and from then on the client waits for metadata for ever. A worker that
was connecting while Kafka was killed did not come back with it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_MARK: Final = "_ems_says_broken"


def say_broken_connections() -> None:
    """Make every client of this process raise `KafkaConnectionError` for a write on a connection that is no more; may be called again."""
    for name in ("send", "_send_sasl_token"):
        own = getattr(AIOKafkaConnection, name)
        if not hasattr(own, _MARK):
            setattr(AIOKafkaConnection, name, _saying(own))


def _saying(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def wrapped(self: AIOKafkaConnection, *args: Any, **kwargs: Any) -> Any:
        try:
            return send(self, *args, **kwargs)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error

    setattr(wrapped, _MARK, True)
    return wrapped
