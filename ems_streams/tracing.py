"""Traces of single messages from MQTT to the notification that they bring about, carried by W3C `traceparent` headers of Kafka records. Off by default.

Of every `1 / EMS_TRACES_SAMPLE` messages one is followed: the ingress begins its trace and gives the record a header; whoever publishes because of a record with a
header gives its own record one. Records without a header cost a look at their headers, and nothing at all while tracing is off.
"""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ems_streams.errors import SettingError
from ems_streams.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACEPARENT: Final = "traceparent"
FLUSH_TIMEOUT_S: Final = 2.0
_NS_PER_MS: Final = 1_000_000

Headers = Sequence[tuple[str, bytes]]


class Source(Protocol):
    """A Kafka record, as far as a trace needs it."""

    @property
    def timestamp(self) -> int: ...

    @property
    def headers(self) -> Headers: ...


class Tracing:
    """Begins and continues traces of one process.

    Args:
        provider: Of OpenTelemetry, with whatever takes the spans.
        sample: Share of messages that are followed, 0 to 1.
    """

    def __init__(self, provider: "TracerProvider", sample: float) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("ems_streams")
        self._propagator = TraceContextTextMapPropagator()
        self._sample = sample

    def chosen(self) -> bool:
        """Whether the next message is followed."""
        return random.random() < self._sample  # noqa: S311 - no secret

    def begin(self, name: str, attributes: dict[str, Any]) -> tuple[Any, tuple[str, bytes]]:
        """A span that begins a trace, to be ended with `end()`, and the header that carries it."""
        span = self._tracer.start_span(name, attributes=attributes)
        return span, self._header(span)

    def follow(self, source: Source, name: str, attributes: dict[str, Any]) -> tuple[str, bytes] | None:
        """A span from the time of a record until now, and the header that carries it on; None when the record is not followed."""
        parent = traceparent_of(source.headers)
        if parent is None:
            return None
        context = self._propagator.extract({TRACEPARENT: parent})
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=source.timestamp * _NS_PER_MS)
        span.end(max(source.timestamp * _NS_PER_MS, time.time_ns()))
        return self._header(span)

    def stop(self) -> None:
        """Give away what is collected, as far as the collector takes it within `FLUSH_TIMEOUT_S`."""
        # The provider has a time limit too, and does not keep it: to a collector that is away it would try again and again.
        giving = threading.Thread(target=self._provider.force_flush, name="give-spans-away", daemon=True)
        giving.start()
        giving.join(FLUSH_TIMEOUT_S)

    def _header(self, span: Any) -> tuple[str, bytes]:
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return TRACEPARENT, carrier[TRACEPARENT].encode()


def traceparent_of(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """The header of a record that is followed."""
    return next((value.decode(errors="replace") for name, value in headers if name == TRACEPARENT), None)


_current: Tracing | None = None


def current() -> Tracing | None:
    """Tracing of this process; None while it is off."""
    return _current


def use(tracing: Tracing | None) -> None:
    """Trace with this one from now on; None turns it off."""
    global _current  # noqa: PLW0603 - one process has one
    _current = tracing


def configure_tracing(settings: Settings, process: str) -> None:
    """Turn tracing on if `EMS_TRACES_ENDPOINT` is set; raises `SettingError` when the packages for it are not installed."""
    if settings.traces_endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingError(
            "EMS_TRACES_ENDPOINT", str(settings.traces_endpoint), f"needs `pip install ems-streams[tracing]` ({error})"
        ) from None
    resource = Resource.create({"service.name": f"ems-{process}", "service.namespace": settings.application_id})
    # `stop_tracing` does it in time.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{str(settings.traces_endpoint).rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    use(Tracing(provider, settings.traces_sample))


def stop_tracing() -> None:
    """Before the process ends."""
    if _current is not None:
        _current.stop()
