"""What devices do when they are told something, and that every step is written down."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from ems_streams.dev.simulator import CommandLog, FleetOptions, build_fleet, read_command_log
from ems_streams.dev.simulator import command_desk as command_desk_module
from ems_streams.dev.simulator.command_desk import CommandDesk
from ems_streams.dev.simulator.command_faults import Manners
from ems_streams.dev.simulator.fleet import Identity
from ems_streams.dev.simulator.wire import format_ms
from ems_streams.domain.identifiers import record_identity
from ems_streams.mqtt.receiver import Delivery

SESSION = "devices"
FLEET = FleetOptions(seed=7, devices=4, sites=1, rate=1.0, duration_s=0.0, start_ms=0)
DEADLINE_S = 5.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class World:
    """Devices, their log and what they have said."""

    path: Path
    manners: Manners = field(default_factory=lambda: Manners(refuses=False, fails=False, work_s=0.0, late_s=0.0, answers=1))
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    packet_id: int = 0

    def open(self) -> None:
        self.log = CommandLog(self.path)
        self.log.__enter__()
        self.fleet = build_fleet(FLEET)
        sessions = {device.serial_number: SESSION for device, _ in self.fleet}
        self.desk = CommandDesk(self.fleet, sessions, self.log, lambda serial, command_id: self.manners, self)

    async def close(self) -> None:
        await self.desk.stop()
        self.log.__exit__(None, None, None)

    async def publish(self, device: Identity, topic: str, payload: bytes) -> None:
        self.said.append((topic, orjson.loads(payload)))

    def leave(self, serial_number: str, reason: str) -> None:
        self.absent.append(serial_number)

    def come_back(self, serial_number: str, reason: str) -> None:
        self.absent.remove(serial_number)

    def device(self, device_type: str) -> Identity:
        return next(device for device, _ in self.fleet if device.device_type == device_type)

    def tell(
        self, device: Identity, command_id: str, command: str, *, expires_in_s: float = 60.0, again: bool = False, **parameters: Any
    ) -> None:
        body = {
            "commandId": command_id,
            "command": command,
            "parameters": parameters,
            "requestedAt": format_ms(now_ms()),
            "expiresAt": format_ms(now_ms() + int(expires_in_s * 1000)),
        }
        self.hand_over(device, orjson.dumps(body), again=again)

    def hand_over(self, device: Identity, payload: bytes, *, again: bool = False, session: str = SESSION) -> None:
        self.packet_id += not again
        topic = f"sites/{device.site_id}/devices/{device.serial_number}/commands"
        identity = record_identity(payload)
        self.desk.take(session, Delivery(topic, payload, self.packet_id, identity, again, again, f"{topic}/ack", b"c", 60))

    def events(self) -> list[str]:
        return [line["event"] for line in read_command_log(self.path)]

    async def until(self, event: str, count: int = 1) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.events().count(event) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "log")
    world.open()
    yield world
    await world.close()


async def test_a_command_is_accepted_done_and_answered_each_step_written_down(world: World) -> None:
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    assert world.events() == ["RECEIVED"], "it is written down before the broker is told"
    await world.until("ANSWERED", 2)
    assert world.events() == ["RECEIVED", "ANSWERED", "EXECUTED", "ANSWERED"]
    topic = f"sites/1/devices/{device.serial_number}/commands/ack"
    assert [(to, each["commandId"], each["result"]) for to, each in world.said] == [(topic, "c-1", "ACCEPTED"), (topic, "c-1", "COMPLETED")]
    assert world.fleet[0][1].controls.power_limit_kw == 3.0
    [received, *_] = read_command_log(world.path)
    assert (received["correlation"], received["responseTopic"], received["expiryS"]) == ("c", topic, 60)


async def test_what_comes_twice_is_executed_twice_unless_it_is_the_same_exchange(world: World) -> None:
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0, again=True)
    await world.until("ANSWERED", 2)
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    await world.until("ANSWERED", 4)
    events = world.events()
    assert (events.count("RECEIVED"), events.count("RESENT"), events.count("EXECUTED")) == (2, 1, 2)


async def test_a_device_does_one_thing_after_the_other_in_order(world: World) -> None:
    world.manners = Manners(refuses=False, fails=False, work_s=0.02, late_s=0.0, answers=1)
    device = world.device("SOLAR_INVERTER")
    for number in range(5):
        world.tell(device, f"c-{number}", "SET_POWER_LIMIT", powerLimitKw=number)
    await world.until("EXECUTED", 5)
    assert [line["commandId"] for line in read_command_log(world.path) if line["event"] == "EXECUTED"] == [
        f"c-{number}" for number in range(5)
    ]


async def test_what_is_expired_is_never_executed(world: World) -> None:
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0, expires_in_s=-0.001)
    world.manners = Manners(refuses=False, fails=False, work_s=0.1, late_s=0.0, answers=1)
    await world.until("ANSWERED")
    world.tell(device, "c-2", "SET_POWER_LIMIT", powerLimitKw=3.0, expires_in_s=0.05)
    await world.until("EXPIRED", 2)
    await world.until("ANSWERED", 3)
    assert "EXECUTED" not in world.events()
    assert [(each["commandId"], each["result"]) for _, each in world.said] == [("c-1", "REJECTED"), ("c-2", "ACCEPTED"), ("c-2", "FAILED")]
    assert world.fleet[0][1].controls.power_limit_kw is None


async def test_a_device_refuses_what_it_cannot_do(world: World) -> None:
    world.tell(world.device("METER"), "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    await world.until("ANSWERED")
    assert world.events() == ["RECEIVED", "REFUSED", "ANSWERED"]
    assert [(each["result"], each["detail"]) for _, each in world.said] == [("REJECTED", "a METER does not know 'SET_POWER_LIMIT'")]


@pytest.mark.parametrize(
    ("faults", "events", "results"),
    [
        ({"refuses": True}, ["REFUSED"], ["REJECTED"]),
        ({"fails": True}, ["EXECUTED"], ["ACCEPTED", "FAILED"]),
        ({"answers": 0}, ["EXECUTED"], []),
        ({"answers": 2}, ["EXECUTED"], ["ACCEPTED", "ACCEPTED", "COMPLETED", "COMPLETED"]),
        ({"late_s": 0.2}, ["EXECUTED"], ["ACCEPTED", "COMPLETED"]),
    ],
    ids=str,
)
async def test_faults(world: World, faults: dict[str, Any], events: list[str], results: list[str]) -> None:
    world.manners = Manners(**{"refuses": False, "fails": False, "work_s": 0.0, "late_s": 0.0, "answers": 1, **faults})
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    await world.until(events[-1])
    if faults.get("late_s"):
        assert world.said == [], "done in time, answered late"
    await world.until("ANSWERED", len(results))
    await asyncio.sleep(0.05)
    assert [each for each in world.events() if each not in {"RECEIVED", "ANSWERED"}] == events
    assert sorted(each["result"] for _, each in world.said) == sorted(results)
    done = not {"refuses", "fails"} & faults.keys()
    assert world.fleet[0][1].controls.power_limit_kw == (3.0 if done else None)


async def test_a_reboot_takes_the_device_away_and_answers_when_it_is_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_desk_module, "REBOOT_S", 0.2)
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "REBOOT")
    world.tell(device, "c-2", "SET_POWER_LIMIT", powerLimitKw=3.0)
    await world.until("OFFLINE")
    assert world.absent == [device.serial_number]
    await world.until("ANSWERED", 4)
    assert world.absent == []
    assert [line["event"] for line in read_command_log(world.path) if line["event"] != "ANSWERED"] == [
        "RECEIVED", "RECEIVED", "EXECUTED", "OFFLINE", "ONLINE", "EXECUTED",
    ]  # fmt: skip


async def test_a_device_without_a_connection_answers_when_it_has_one_again(world: World) -> None:
    device = world.device("SOLAR_INVERTER")
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    world.desk.leave(device.serial_number, "connection lost")
    await asyncio.sleep(0.1)
    assert world.said == []
    world.desk.come_back(device.serial_number, "connection lost")
    await world.until("ANSWERED", 2)


async def test_what_is_no_command_is_written_down_and_nothing_else(world: World) -> None:
    device = world.device("SOLAR_INVERTER")
    for payload in (
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"commandId":"c","command":5}',
        b'{"commandId":"c","command":"REBOOT","expiresAt":"never"}',
    ):
        world.hand_over(device, payload)
    await asyncio.sleep(0.05)
    assert set(world.events()) == {"MALFORMED"}
    assert world.said == []
    world.tell(device, "c-1", "SET_POWER_LIMIT", powerLimitKw=3.0)
    await world.until("ANSWERED", 2)


async def test_what_is_for_others_is_theirs(world: World) -> None:
    stranger = Identity(9, "ELSE-1", 1, "METER")
    world.tell(stranger, "c-1", "REBOOT")
    world.hand_over(world.device("METER"), b'{"commandId":"c-2","command":"REBOOT"}', session="another session")
    await asyncio.sleep(0.05)
    assert world.events() == []
    world.desk.released(SESSION, 1)
    assert world.events() == []


async def test_a_run_that_ends_in_between_leaves_the_rest_to_the_next_one(world: World) -> None:
    world.manners = Manners(refuses=False, fails=False, work_s=0.05, late_s=0.0, answers=1)
    device = world.device("SOLAR_INVERTER")
    for number in range(3):
        world.tell(device, f"c-{number}", "SET_POWER_LIMIT", powerLimitKw=number)
    await world.until("EXECUTED")
    await world.close()
    before = world.events().count("EXECUTED")
    assert before < 3
    world.open()
    world.desk.resume()
    await world.until("EXECUTED", 3)
    executed = [line["commandId"] for line in read_command_log(world.path) if line["event"] == "EXECUTED"]
    assert executed == ["c-0", "c-1", "c-2"]
    assert world.fleet[0][1].controls.power_limit_kw == 2.0


def test_lines_are_json(tmp_path: Path) -> None:
    with CommandLog(tmp_path / "log") as log:
        log.write("ONLINE", now_ms(), serialNumber="A", detail='quotes " and\nlines')
    assert json.loads((tmp_path / "log").read_text())["detail"] == 'quotes " and\nlines'
