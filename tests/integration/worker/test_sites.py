"""Windows of sites on real servers: merged from those of their devices, corrected with them, and exact when the worker is killed."""

import asyncio
import json
import math
import random
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from ems_streams.domain.events import AggregateEvent, SiteAggregateEvent, decode, format_time
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka.catalogue import DEVICE_AGGREGATES, DEVICE_TELEMETRY, SITE_AGGREGATES
from ems_streams.kafka.partitioner import partition_for
from tests.integration.worker.test_worker import PARTITIONS
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

START_MS = 1_767_607_200_000
"""2026-01-05T10:00:00Z."""
MINUTE_MS = 60_000
LENGTHS_MS = {"1m": MINUTE_MS, "15m": 15 * MINUTE_MS}
Message = tuple[int, dict[str, float]]


class Plant:
    """Two sites of three devices, and everything that these have sent."""

    def __init__(self, deployment: Deployment) -> None:
        self._bootstrap = deployment.stack.kafka_bootstrap
        self._random = random.Random(20260105)
        name = deployment.application_id
        self.site_of = {f"{name}-{site}{letter}": site for site in (1, 2) for letter in "ABC"}
        self.sent: dict[str, list[Message]] = defaultdict(list)

    def of(self, site: int) -> list[str]:
        return [serial for serial, at in self.site_of.items() if at == site]

    def minute(self, minute: int, serials: list[str]) -> None:
        """A message of each device every ten seconds, each a little after that of the one before."""
        self._send(
            (serial, START_MS + minute * MINUTE_MS + second * 1000 + 7 * index, {"powerKw": self._value(), "voltage": self._value()})
            for second in range(0, 60, 10)
            for index, serial in enumerate(serials)
        )

    def late(self, serial: str, at_ms: int) -> None:
        self._send([(serial, at_ms, {"powerKw": 123.456})])

    def _value(self) -> float:
        return self._random.randint(-100_000, 1_000_000) / 997

    def _send(self, messages: Any) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all")
            await producer.start()
            try:
                for serial, at_ms, metrics in messages:
                    self.sent[serial].append((at_ms, metrics))
                    value = self._record(serial, at_ms, metrics)
                    await producer.send(DEVICE_TELEMETRY, value, key=serial.encode(), partition=partition_for(serial.encode(), PARTITIONS))
            finally:
                await producer.stop()

        asyncio.run(send())

    def _record(self, serial: str, at_ms: int, metrics: dict[str, float]) -> bytes:
        value = {
            "deviceId": 7,
            "serialNumber": serial,
            "siteId": self.site_of[serial],
            "deviceType": "METER",
            "telemetryData": metrics,
            "timestamp": format_time(from_epoch_ms(at_ms)),
            "eventType": "DEVICE_TELEMETRY",
            "messageId": f"{serial}-{at_ms}",
        }
        return json.dumps(value).encode()

    # -- what came out --

    def device_windows(self) -> dict[tuple[str, str, int], list[AggregateEvent]]:
        """Revisions by device, kind and start."""
        found = defaultdict(list)
        for record in consume(self._bootstrap, DEVICE_AGGREGATES):
            event = decode(AggregateEvent, record.value)
            assert record.key == event.serial_number.encode()
            found[event.serial_number, event.window, _ms(event.window_start)].append(event)
        return found

    def site_windows(self) -> dict[tuple[int, str, int], list[SiteAggregateEvent]]:
        """Revisions by site, kind and start."""
        found = defaultdict(list)
        for record in consume(self._bootstrap, SITE_AGGREGATES):
            event = decode(SiteAggregateEvent, record.value)
            assert (record.key, record.partition) == (b"%d" % event.site_id, partition_for(b"%d" % event.site_id, PARTITIONS))
            found[event.site_id, event.window, _ms(event.window_start)].append(event)
        return found

    def closed_everywhere(self, minute: int, window: str = "1m") -> None:
        """Return when both sites have published a window."""
        start_ms = START_MS + minute * MINUTE_MS

        def published() -> bool:
            found = self.site_windows()
            return all((site, window, start_ms) in found for site in (1, 2))

        eventually(published, 60, f"{window} of minute {minute}")

    # -- what should have come out --

    def check(self, event: SiteAggregateEvent) -> None:
        """Compare a window of a site with what its devices have sent, calculated from their messages directly."""
        start_ms, end_ms = _ms(event.window_start), _ms(event.window_end)
        assert end_ms - start_ms == LENGTHS_MS[event.window]
        messages = {serial: [each for each in self.sent[serial] if start_ms <= each[0] < end_ms] for serial in self.of(event.site_id)}
        reported = [serial for serial, found in messages.items() if found]
        assert (event.devices_reported, event.devices_total) == (len(reported), 3)
        assert event.event_count == sum(map(len, messages.values()))
        for name, said in event.metrics.items():
            values = [(at_ms, metrics[name]) for found in messages.values() for at_ms, metrics in found if name in metrics]
            column = sorted(value for _, value in values)
            mean = math.fsum(column) / len(column)
            assert said.count == len(column)
            assert said.sum == pytest.approx(math.fsum(column), rel=1e-12)
            assert said.mean == pytest.approx(mean, rel=1e-12)
            assert (said.min, said.max, said.last) == (column[0], column[-1], max(values)[1])
            assert said.stddev == pytest.approx(math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column)), rel=1e-9)
            for share, quantile in ((0.5, said.p50), (0.95, said.p95), (0.99, said.p99)):
                assert quantile == pytest.approx(column[int(share * (len(column) - 1))], rel=0.0101)
        energies = [_energy(self.sent[serial], start_ms, end_ms) for serial in reported]
        assert event.energy_kwh == pytest.approx(math.fsum(kwh for kwh, _ in energies), rel=1e-9)
        covered_share = sum(share for _, share in energies) / len(energies)
        assert event.energy_covered_share == pytest.approx(covered_share, abs=2e-6)
        assert event.energy_quality == ("INTEGRATED" if covered_share >= 0.9 else "GAP")


def _ms(moment: Any) -> int:
    return round(moment.timestamp() * 1000)


def _energy(messages: list[Message], start_ms: int, end_ms: int) -> tuple[float, float]:
    """The area below straight lines between power values not more than five minutes apart, in kWh; and the share of time they cover."""
    powers = sorted((at_ms, metrics["powerKw"]) for at_ms, metrics in messages)
    kwh = covered_ms = 0.0
    for (left_ms, left_kw), (right_ms, right_kw) in pairwise(powers):
        begin_ms, finish_ms = max(left_ms, start_ms), min(right_ms, end_ms)
        if begin_ms >= finish_ms or right_ms - left_ms > 300_000:
            continue
        slope = (right_kw - left_kw) / (right_ms - left_ms)
        begin_kw, finish_kw = left_kw + slope * (begin_ms - left_ms), left_kw + slope * (finish_ms - left_ms)
        kwh += (begin_kw + finish_kw) / 2 * (finish_ms - begin_ms) / 3_600_000
        covered_ms += finish_ms - begin_ms
    return kwh, covered_ms / (end_ms - start_ms)


def test_sites_say_what_their_devices_say_whatever_happens_to_the_worker(deployment: Deployment) -> None:
    deployment.extra["EMS_AGGREGATES_COMMIT_INTERVAL_S"] = "0.3"
    plant = Plant(deployment)
    everyone = list(plant.site_of)
    silent = plant.of(2)[1]
    worker = deployment.worker().wait_until_ready()
    for minute in range(4):
        plant.minute(minute, everyone)
        if minute > 1:
            plant.closed_everywhere(minute - 2)
    # Killed with telemetry, parts and windows under way.
    plant.minute(4, [serial for serial in everyone if serial != silent])
    worker.kill()
    plant.minute(5, [serial for serial in everyone if serial != silent])
    worker = deployment.worker().wait_until_ready()
    plant.closed_everywhere(3)
    plant.minute(6, everyone)
    worker.kill()
    worker = deployment.worker().wait_until_ready()
    for minute in (17, 18, 19):
        plant.minute(minute, everyone)
    plant.closed_everywhere(0, "15m")
    plant.closed_everywhere(17)
    before = plant.site_windows()

    late = plant.of(1)[2]
    plant.late(late, START_MS + MINUTE_MS + 5_500)
    corrected = [(1, "1m", START_MS + MINUTE_MS), (1, "15m", START_MS)]
    eventually(lambda: all(len(plant.site_windows()[key]) > len(before[key]) for key in corrected), 60, "corrections")

    of_devices = plant.device_windows()
    assert [each.revision for each in of_devices[late, "1m", START_MS + MINUTE_MS]] == [1, 2]
    assert [each.revision for each in of_devices[late, "15m", START_MS]] == [1, 2]
    found = plant.site_windows()
    for key, revisions in found.items():
        assert [each.revision for each in revisions] == list(range(1, len(revisions) + 1)), key
        plant.check(revisions[-1])
    assert found.keys() == before.keys()
    assert {key for key in found if len(found[key]) > len(before[key])} == set(corrected)
    assert {key[2] for key in found if key[:2] == (2, "1m")} >= {START_MS + minute * MINUTE_MS for minute in (*range(7), 17)}
    assert found[2, "1m", START_MS + 4 * MINUTE_MS][-1].devices_reported == 2
    # While nothing happened every device had reported before its site closed the window, and nothing was published twice.
    quiet = [(site, "1m", START_MS) for site in (1, 2)]
    assert [len(found[key]) for key in quiet] == [1, 1]
    _check_live(deployment, worker, found)


def _check_live(deployment: Deployment, worker: Running, found: dict[tuple[int, str, int], list[SiteAggregateEvent]]) -> None:
    """Worker and gateway show what was published, and what is still open."""
    # Without history: the database may have windows of a site with this number from somebody else.
    deployment.extra["EMS_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    gateway = deployment.gateway().wait_until_ready()
    for url in (worker.url, gateway.url):
        status, body = get(f"{url}/api/v1/sites/1/aggregates?window=1m&limit=100")
        assert (status, body["siteId"]) == (200, 1)
        last = {format_time(each[-1].window_start): each[-1] for key, each in found.items() if key[:2] == (1, "1m")}
        closed = [window for window in body["windows"] if window["revision"]]
        assert {window["windowStart"]: window["revision"] for window in closed} == {start: each.revision for start, each in last.items()}
        for window in closed:
            event = last[window["windowStart"]]
            assert (window["eventCount"], window["energyKwh"]) == (event.event_count, event.energy_kwh)
            assert (window["devicesReported"], window["devicesTotal"]) == (event.devices_reported, event.devices_total)
            assert window["metrics"]["powerKw"]["sum"] == event.metrics["powerKw"].sum
        assert get(f"{url}/api/v1/sites/1/aggregates?window=1m&limit=1&to=2026-01-05T10:01:00Z")[1]["windows"] == closed[-1:]
        assert get(f"{url}/api/v1/sites/99/aggregates")[0] == 404
        assert get(f"{url}/api/v1/sites/1/aggregates?window=2m")[0] == 400
    (site,) = (each for each in get(f"{gateway.url}/api/v1/sites")[1]["sites"] if each["siteId"] == 1)
    assert site["devices"] == 3


def test_the_last_window_of_sites_that_have_gone_quiet_closes_and_any_worker_shows_it(deployment: Deployment) -> None:
    """By the heartbeats of the ingress, although no device of the site sends anything any more."""
    deployment.extra |= {
        "EMS_AGGREGATES_COMMIT_INTERVAL_S": "0.3",
        "EMS_HEARTBEAT_INTERVAL_S": "1",
        "EMS_QUIET_DEVICE_S": "2",
        "EMS_WINDOW_LATENESS_S": "0,0,0,0",
        "EMS_SITE_LATENESS_S": "5",
    }
    plant = Plant(deployment)
    deployment.ingress().wait_until_ready()
    workers = [deployment.worker(index) for index in range(2)]
    for worker in workers:
        worker.wait_until_ready()
    eventually(lambda: len((get(f"{workers[0].url}/internal/v1/topology")[1] or {}).get("workers", ())) == 2, 30, "two workers")
    plant.minute(0, list(plant.site_of))
    eventually(lambda: len(plant.device_windows()) == len(plant.site_of), 60, "windows of all devices")
    plant.closed_everywhere(0)
    for (site, _, _), (window,) in plant.site_windows().items():
        plant.check(window)
        for worker in workers:
            (shown,) = get(f"{worker.url}/api/v1/sites/{site}/aggregates?window=1m")[1]["windows"]
            assert (shown["revision"], shown["devicesReported"], shown["energyKwh"]) == (1, 3, window.energy_kwh)
