"""A real HTTP server that answers as a worker does, by the contract between worker and gateway; for tests of the gateway."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ems_streams.gateway.alarm_fleet import place_of
from ems_streams.kafka.partitioner import partition_for
from ems_streams.ops.http import bound_port, error_middleware, json_response, problem, start_site

Device = dict[str, Any]


def device_view(serial: str, site: int = 1, status: str = "ONLINE", power_kw: float = 45.2, **more: Any) -> Device:
    """A device as a worker shows it."""
    return {
        "serialNumber": serial,
        "deviceId": 1,
        "siteId": site,
        "deviceType": "SOLAR_INVERTER",
        "status": status,
        "previousStatus": "UNKNOWN",
        "statusSince": "2025-10-04T10:15:00Z",
        "statusReason": "telemetry received",
        "sequence": 1,
        "lastSeen": "2025-10-04T10:15:00Z",
        "latest": {"powerKw": power_kw},
        "latestTimestamp": "2025-10-04T10:15:00Z",
        **more,
    }


@dataclass
class WorkerStandIn:
    """One worker with its own partitions; set the fields to make it behave badly."""

    cluster: "WorkerCluster"
    owned: list[int]
    url: str = ""
    delay_s: float = 0.0
    topology_delay_s: float = 0.0
    refuse_with: int | None = None
    condition: dict[str, Any] | None = None
    calls: list[str] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[error_middleware, self._misbehave])
        app.add_routes(
            [
                web.get("/internal/v1/topology", self._topology),
                web.get("/internal/v1/devices", self._devices),
                web.get("/internal/v1/alarms", self._alarms),
                web.get("/internal/v1/alarms/{alarmId}", self._alarm),
                web.get("/api/v1/devices/{serial}", self._device),
                web.get("/api/v1/devices/{serial}/aggregates", self._aggregates),
                web.get("/api/v1/sites/{siteId}/aggregates", self._site_aggregates),
            ]
        )
        self.runner = await start_site(app, "127.0.0.1", 0, "PORT", shutdown_timeout_s=0.1)
        self.url = f"http://127.0.0.1:{bound_port(self.runner)}"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(request.path_qs)
        if request.path != "/internal/v1/topology":
            await asyncio.sleep(self.delay_s)
            if self.refuse_with is not None:
                return problem(self.refuse_with, "Refused", "as the test wants", headers={"Retry-After": "7"})
        response: web.StreamResponse = await handler(request)
        return response

    async def _topology(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.topology_delay_s)
        workers = {worker.url: worker.owned for worker in self.cluster.workers}
        said = {} if self.condition is None else {"condition": self.condition}
        return json_response({"generation": self.cluster.generation, "partitions": self.cluster.partitions, "workers": workers, **said})

    async def _devices(self, request: web.Request) -> web.Response:
        query = request.query
        found = [device for _, device in sorted(self.cluster.devices.items()) if self.cluster.partition_of(device) in self.owned]
        found = [device for device in found if device["serialNumber"] > query.get("after", "")]
        if "site" in query:
            found = [device for device in found if str(device["siteId"]) in query["site"].split(",")]
        if "status" in query:
            found = [device for device in found if device["status"] == query["status"]]
        return json_response({"partitionsAnswered": self.owned, "devices": found[: int(query.get("limit", "100"))]})

    async def _alarms(self, request: web.Request) -> web.Response:
        query = request.query
        found = [alarm for alarm in self._own_alarms() if alarm["state"] in query.get("state", alarm["state"]).split(",")]
        if "site" in query:
            found = [alarm for alarm in found if str(alarm["siteId"]) in query["site"].split(",")]
        if "after" in query:
            raised_ms, alarm_id = query["after"].split(":")
            found = [alarm for alarm in found if place_of(alarm) > (-int(raised_ms), alarm_id)]
        return json_response({"partitionsAnswered": self.owned, "alarms": found[: int(query.get("limit", "100"))]})

    async def _alarm(self, request: web.Request) -> web.Response:
        found = [alarm for alarm in self._own_alarms() if alarm["alarmId"] == request.match_info["alarmId"]]
        return json_response({"partitionsAnswered": self.owned, "alarm": found[0] if found else None})

    def _own_alarms(self) -> list[dict[str, Any]]:
        return sorted((alarm for alarm in self.cluster.alarms if self.cluster.partition_of(alarm) in self.owned), key=place_of)

    async def _device(self, request: web.Request) -> web.Response:
        device = self.cluster.devices.get(request.match_info["serial"])
        return json_response(device) if device else problem(404, "Not Found", "no such device")

    async def _aggregates(self, request: web.Request) -> web.Response:
        serial = request.match_info["serial"]
        if serial not in self.cluster.devices:
            return problem(404, "Not Found", "no such device")
        query = request.query
        windows = [
            window
            for window in self.cluster.windows.get(serial, [])
            if query.get("from", "") <= window["windowStart"] < query.get("to", "9")
        ][: int(query.get("limit", "10"))]
        return json_response({"serialNumber": serial, "total": {"metrics": {}}, "windows": windows, "query": dict(request.query)})

    async def _site_aggregates(self, request: web.Request) -> web.Response:
        site = request.match_info["siteId"]
        if site not in self.cluster.windows:
            return problem(404, "Not Found", "no such site")
        return json_response({"siteId": int(site), "windows": self.cluster.windows[site], "query": dict(request.query)})


@dataclass
class WorkerCluster:
    """Several workers that share the devices by partition."""

    partitions: int = 4
    generation: int = 1
    devices: dict[str, Device] = field(default_factory=dict)
    windows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    workers: list[WorkerStandIn] = field(default_factory=list)

    def partition_of(self, device: Device) -> int:
        return partition_for(device["serialNumber"].encode(), self.partitions)

    def put(self, *devices: Device) -> None:
        for device in devices:
            self.devices[device["serialNumber"]] = device

    async def start(self, count: int) -> None:
        for number in range(count):
            owned = [partition for partition in range(self.partitions) if partition % count == number]
            worker = WorkerStandIn(self, owned)
            await worker.start()
            self.workers.append(worker)

    async def stop(self) -> None:
        for worker in self.workers:
            await worker.stop()
