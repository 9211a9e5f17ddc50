"""Traces: off unless wanted, carried by a header, and followed only where there is one."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ems_streams import tracing
from ems_streams.errors import SettingError
from ems_streams.settings import Settings
from ems_streams.tracing import Tracing, configure_tracing, current, traceparent_of, use
from tests.support.partition import Stored

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra `tracing` is not installed")
export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


@pytest.fixture
def spans() -> export.InMemorySpanExporter:
    return export.InMemorySpanExporter()


@pytest.fixture
def followed(spans) -> Iterator[Tracing]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    use(Tracing(provider, 1.0))
    made = current()
    assert made is not None
    yield made
    use(None)


def record(headers: list[tuple[str, bytes]]) -> Stored:
    return Stored(1, int(time.time() * 1000) - 5000, b"A", b"{}", headers)


def test_without_an_endpoint_there_is_no_tracing() -> None:
    configure_tracing(Settings(), "worker")
    assert current() is None


def test_a_trace_goes_on_through_headers(followed: Tracing, spans) -> None:
    root, header = followed.begin("ingest", {})
    next_header = followed.follow(record([("other", b"x"), header]), "publish", {})
    assert next_header is not None
    last_header = followed.follow(record([next_header]), "notification", {})
    root.end()
    assert last_header is not None
    publish, notification, ingest = spans.get_finished_spans()
    assert {each.context.trace_id for each in (publish, notification, ingest)} == {ingest.context.trace_id}
    assert publish.parent.span_id == ingest.context.span_id
    assert notification.parent.span_id == publish.context.span_id
    assert publish.end_time - publish.start_time > 4_900_000_000, "from the record's own time on"


def test_a_record_without_a_header_is_not_followed(followed: Tracing, spans) -> None:
    assert followed.follow(record([("dlt-stage", b"x")]), "publish", {}) is None
    assert traceparent_of([]) is None
    assert spans.get_finished_spans() == ()


def test_the_share_that_is_followed() -> None:
    none, everything = (Tracing(sdk.TracerProvider(), share) for share in (0.0, 1.0))
    assert not any(none.chosen() for _ in range(100))
    assert all(everything.chosen() for _ in range(100))


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingError, match=r"EMS_TRACES_ENDPOINT='http://localhost:4318/': needs `pip install ems-streams\[tracing\]`"):
        configure_tracing(Settings(traces_endpoint="http://localhost:4318"), "worker")  # type: ignore[arg-type]  # as it is written
    assert tracing.current() is None


def test_a_collector_that_is_away_delays_the_end_by_no_more_than_the_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    class Away(export.InMemorySpanExporter):
        def export(self, _spans):
            gone.wait(30)

    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    monkeypatch.setattr(tracing, "FLUSH_TIMEOUT_S", 0.2)
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Away()))
    made = Tracing(provider, 1.0)
    made.begin("ingest", {})[0].end()
    began_s = time.monotonic()
    made.stop()
    took_s = time.monotonic() - began_s
    gone.set()
    assert took_s < 5
