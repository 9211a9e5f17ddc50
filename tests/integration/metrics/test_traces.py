"""One message, followed from MQTT to the notification that it brings about, across four processes; and nothing when tracing is off."""

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ems_streams.kafka.catalogue import DEVICE_NOTIFICATIONS
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.notifier import channels_file, hook, read_all, secrets
from tests.support.processes import Deployment, eventually
from tests.support.receivers import webhook

service_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra `tracing` is not installed")

pytestmark = pytest.mark.integration

Span = tuple[str, str, str, str]
"""Service, name, trace id, parent's span id."""


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Takes OTLP over HTTP; gives its address and the spans that have come."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = service_pb2.ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for each in request.resource_spans:
                service = next(item.value.string_value for item in each.resource.attributes if item.key == "service.name")
                for scope in each.scope_spans:
                    spans.extend((service, span.name, span.trace_id.hex(), span.parent_span_id.hex()) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def report(deployment: Deployment, serial: str, status: str) -> None:
    async with MqttPublisher(deployment.stack.mqtt_url, f"traces-{uuid.uuid4().hex[:6]}") as device:
        await device.publish(f"sites/3/devices/{serial}/status", json.dumps({"status": status}).encode(), qos=1)


def test_a_message_is_followed_to_its_notification(deployment: Deployment, tmp_path: Path) -> None:
    serial = f"TRC-{uuid.uuid4().hex[:6]}"
    with collector() as (endpoint, spans), webhook() as receiver:
        deployment.extra |= {"EMS_TRACES_ENDPOINT": endpoint, "EMS_TRACES_SAMPLE": "1", "OTEL_BSP_SCHEDULE_DELAY": "200"}
        channels = channels_file(tmp_path, {"ops": hook(receiver.url, start="now")})
        for process in (deployment.ingress(), deployment.worker(), deployment.notifier(channels, **secrets()), deployment.gateway()):
            process.wait_until_ready()
        asyncio.run(report(deployment, serial, "ERROR"))
        eventually(lambda: receiver.delivered, 20, "the webhook is told")
        names = {
            ("ems-ingress", "device-status-reports ingest"),
            ("ems-worker", "device-status publish"),
            ("ems-worker", "device-notifications publish"),
            ("ems-notifier", "notification taken by a channel"),
            ("ems-gateway", "notification in the feed"),
        }
        eventually(lambda: names <= {(service, name) for service, name, _, _ in spans}, 20, "every step has a span")
    assert len({trace for _, _, trace, _ in spans}) == 1, "one trace"
    roots = [name for _, name, _, parent in spans if not parent]
    assert roots == ["device-status-reports ingest"]


def test_without_an_endpoint_no_record_has_a_header(deployment: Deployment) -> None:
    serial = f"TRC-{uuid.uuid4().hex[:6]}"
    for process in (deployment.ingress(), deployment.worker()):
        process.wait_until_ready()
    asyncio.run(report(deployment, serial, "ERROR"))
    told = eventually(lambda: [each for each in read_all(deployment, DEVICE_NOTIFICATIONS) if each.key == serial.encode()], 20, "told")
    assert [header for each in told for header in each.headers] == []
