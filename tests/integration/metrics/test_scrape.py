"""Real processes with real traffic: every metric that is defined is exported by whom it says, with its type, and moves."""

import asyncio
import json
import urllib.request
import uuid
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ems_streams.metrics import DEFINITIONS, Process
from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.metric_use import definition_of, expressions
from tests.support.notifier import channels_file, hook, secrets
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.promql import read
from tests.support.receivers import webhook

pytestmark = pytest.mark.integration


def scrape(process: Running) -> dict[str, Metric]:
    """Metrics of a process by the name that they are defined with."""
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=5) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = text_string_to_metric_families(response.read().decode())
    return {f"{each.name}_total" if each.type == "counter" else each.name: each for each in families}


def value(process: Running, name: str, **labels: str) -> float:
    """The sum of the series of a metric with these labels, for a histogram of its count."""
    metric = scrape(process)[name]
    wanted = {name, f"{name}_count"}
    return sum(each.value for each in metric.samples if each.name in wanted and labels.items() <= each.labels.items())


async def send(deployment: Deployment, serial: str) -> None:
    topic = f"sites/3/devices/{serial}"
    async with MqttPublisher(deployment.stack.mqtt_url, f"scrape-{uuid.uuid4().hex[:6]}") as device:
        for number in range(20):
            await device.publish(f"{topic}/telemetry", json.dumps({"powerKw": number}).encode(), qos=1)
        await device.publish(f"{topic}/telemetry", b"not json", qos=1)
        await device.publish(f"{topic}/status", json.dumps({"status": "ERROR", "reason": "Grid fault"}).encode(), qos=1)


async def watch(gateway: Running, cursor_is_there: asyncio.Event, messages: list[object]) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{gateway.url}/ws/notifications") as socket:
        cursor_is_there.set()
        messages.append((await socket.receive()).json())
        await asyncio.Event().wait()


async def denied(gateway: Running) -> None:
    """A page of somebody else that has its own name lead to us."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}/api/v1/devices", headers={"Host": "other.example"}) as response,
    ):
        assert response.status == 403


async def traffic(deployment: Deployment, gateway: Running, serial: str) -> None:
    """Messages in over MQTT, and a client that is told of them."""
    connected, messages = asyncio.Event(), list[object]()
    watching = asyncio.create_task(watch(gateway, connected, messages))
    await connected.wait()
    await send(deployment, serial)
    async with asyncio.timeout(30):
        while not messages:
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(value, gateway, "ems_websocket_clients") == 1
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await denied(gateway)


def started(deployment: Deployment, channels: Path) -> dict[Process, Running]:
    """One of each, ready."""
    processes = {
        Process.INGRESS: deployment.ingress(),
        Process.WORKER: deployment.worker(EMS_AGGREGATES_COMMIT_INTERVAL_S="0.5"),
        Process.SINK: deployment.sink(),
        Process.NOTIFIER: deployment.notifier(channels, **secrets()),
        Process.GATEWAY: deployment.gateway(),
    }
    for process in processes.values():
        process.wait_until_ready()
    return processes


def test_every_metric_is_exported_and_moves(deployment: Deployment, tmp_path: Path) -> None:
    serial = f"MTR-{uuid.uuid4().hex[:6]}"
    with webhook() as receiver:
        processes = started(deployment, channels_file(tmp_path, {"ops": hook(receiver.url, start="now")}))
        ingress, worker, sink = (processes[each] for each in (Process.INGRESS, Process.WORKER, Process.SINK))
        asyncio.run(traffic(deployment, processes[Process.GATEWAY], serial))
        get(f"{processes[Process.GATEWAY].url}/api/v1/devices/{serial}")
        eventually(lambda: receiver.delivered, 20, "the webhook is told")
        eventually(lambda: value(sink, "ems_sink_rows_total") >= 2, 20, "transitions and notifications are in PostgreSQL")
        eventually(lambda: value(worker, "ems_commit_seconds", agent="aggregates") > 0, 20, "a commit of the aggregates")
        eventually(lambda: value(ingress, "ems_ingress_heartbeats_total") > 0, 20, "a heartbeat")
        eventually(lambda: value(worker, "ems_consumer_lag_records", topic="device-telemetry") == 0, 20, "all telemetry is durable")
        found = {process: scrape(running) for process, running in processes.items()}
        check_values(deployment, processes)

    check_definitions(found, serial)
    check_matchers(found)


def check_values(deployment: Deployment, processes: dict[Process, Running]) -> None:
    """What the traffic has moved is what it was."""
    ingress, worker, notifier, gateway = (processes[each] for each in (Process.INGRESS, Process.WORKER, Process.NOTIFIER, Process.GATEWAY))
    assert value(ingress, "ems_ingress_messages_total", kind="telemetry", outcome="accepted") == 20
    assert value(ingress, "ems_ingress_messages_total", kind="telemetry", outcome="dead_letter") == 1
    assert value(ingress, "ems_ingress_messages_total", kind="status", outcome="accepted") == 1
    assert value(ingress, "ems_dead_letters_total", topic="device-telemetry-dlt", error_class="invalid_json") == 1
    assert value(ingress, "ems_mqtt_connected") == 1
    assert value(worker, "ems_folded_records_total", agent="aggregates", topic="device-telemetry") == 20
    assert value(worker, "ems_table_partitions", agent="aggregates") == deployment.partitions
    assert 100 < value(worker, "ems_cached_state_bytes", agent="aggregates") < 1_000_000
    assert value(worker, "ems_store_buffer_bytes", agent="aggregates") > value(worker, "ems_cached_state_bytes", agent="aggregates")
    assert 0 < value(worker, "ems_receive_to_table_seconds", agent="aggregates") <= 20
    assert value(worker, "ems_published_records_total", topic="device-notifications") >= 2
    assert value(notifier, "ems_channel_notifications_total", channel="ops", outcome="delivered") >= 1
    assert value(gateway, "ems_websocket_sent_notifications_total") >= 1
    # The end of a client that leaves takes a moment to be noticed.
    eventually(lambda: value(gateway, "ems_websocket_closed_total", reason="left") == 1, 10, "the client has left")
    assert value(gateway, "ems_http_denied_total", status="403") == 1
    assert value(gateway, "ems_http_requests_total", route="/api/v1/devices/{serial}", status="200") == 1


def check_definitions(found: dict[Process, dict[str, Metric]], serial: str) -> None:
    """Each process exports what is defined for it, with its type and labels, and each metric has a series somewhere; none is of a device."""
    for process, metrics in found.items():
        defined = {each.name: each for each in DEFINITIONS if process in each.processes}
        assert metrics.keys() == defined.keys(), process
        for name, definition in defined.items():
            assert metrics[name].type == definition.kind, name
            labels = {frozenset(each.labels) - {"le"} for each in metrics[name].samples}
            assert labels <= {frozenset(map(str, definition.labels))}, name
            assert serial not in str(metrics[name].samples), "no series of a device"
    without_series = {
        each.name for each in DEFINITIONS if not any(metrics[each.name].samples for metrics in found.values() if each.name in metrics)
    }
    assert without_series == set()


def check_matchers(found: dict[Process, dict[str, Metric]]) -> None:
    """Each value that a rule or a panel asks a label for is one that the label has."""
    for where, text in expressions():
        for selector in read(text).selectors:
            definition = definition_of(selector.metric)
            for label, (operator, wanted) in selector.matchers.items():
                if definition is None or operator != "=" or label == "job":
                    continue
                there = {
                    each.labels[label]
                    for metrics in found.values()
                    if definition.name in metrics
                    for each in metrics[definition.name].samples
                }
                assert wanted in there, f"{where}: {definition.name} has no {label}={wanted!r}, but {sorted(there)}"
