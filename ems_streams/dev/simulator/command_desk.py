"""What devices do when they are told something: check it, do it, answer, and write each step down.

A device executes whatever it receives, however often, unless it is expired: that nothing is executed twice is for others to ensure, and for tests to
see in the log.
"""

import asyncio
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from ems_streams.dev.simulator import controls
from ems_streams.dev.simulator.command_faults import Manners
from ems_streams.dev.simulator.command_log import CommandLog
from ems_streams.dev.simulator.command_message import Command, parse_command
from ems_streams.dev.simulator.fleet import Identity
from ems_streams.dev.simulator.models import DeviceModel
from ems_streams.dev.simulator.wire import answer_payload, answer_topic, command_topic
from ems_streams.errors import EmsError
from ems_streams.mqtt.receiver import Delivery

log = structlog.get_logger(__name__)

REBOOT_S = 2.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Outside(Protocol):
    """The world around the devices."""

    async def publish(self, device: Identity, topic: str, payload: bytes) -> None:
        """Return when the broker has a message of a device."""

    def leave(self, serial_number: str, reason: str) -> None:
        """A device measures and says nothing until it comes back."""

    def come_back(self, serial_number: str, reason: str) -> None:
        """It is there again."""


@dataclass(slots=True)
class _Device:
    identity: Identity
    model: DeviceModel
    session: str
    waiting: deque[Command] = field(default_factory=deque)
    working: asyncio.Task[None] | None = None
    present: asyncio.Event = field(default_factory=asyncio.Event)
    absences: set[str] = field(default_factory=set)


class CommandDesk:
    """Takes the commands of a fleet; each device does one after the other. Use as a context manager.

    Args:
        fleet: The devices.
        sessions: Name of the MQTT session that a device gets its commands from, by serial number; what comes with another one is not for it.
        log: Where every step is written.
        manners: What a device does with a command, by serial number and command id.
        outside: Where answers go.
    """

    def __init__(
        self,
        fleet: Iterable[tuple[Identity, DeviceModel]],
        sessions: Mapping[str, str],
        log: CommandLog,
        manners: Callable[[str, str], Manners],
        outside: Outside,
    ) -> None:
        self._devices = {each.serial_number: _Device(each, model, sessions[each.serial_number]) for each, model in fleet}
        self._by_topic = {command_topic(each.identity): each for each in self._devices.values()}
        self._log = log
        self._manners = manners
        self._outside = outside
        self._tasks: set[asyncio.Task[None]] = set()
        self._unreleased = {(session, packet_id) for session, ids in log.left.unreleased.items() for packet_id in ids}
        self.counts: Counter[str] = Counter()
        for device in self._devices.values():
            device.present.set()

    def resume(self) -> None:
        """Do what an earlier run has received and not come to do."""
        for line in self._log.left.unfinished:
            device = self._devices.get(line["serialNumber"])
            if device is not None:
                self._enqueue(device, parse_command(line["payload"].encode()))

    async def stop(self) -> None:
        """Do nothing more; what is not done yet is for the next run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, session: str, delivery: Delivery) -> None:
        """A message has come; returns when it is written down. For `MqttReceiver`."""
        device = self._by_topic.get(delivery.topic)
        if device is None or device.session != session:
            return
        try:
            command = parse_command(delivery.payload)
        except ValueError as error:
            payload = b64encode(delivery.payload).decode()
            self._write("MALFORMED", device, None, detail=str(error), payload=payload)
            return
        exactly_once = delivery.packet_id is not None
        self._write(
            "RESENT" if delivery.again else "RECEIVED",
            device,
            command,
            session=session,
            packetId=delivery.packet_id,
            identity=delivery.identity.hex() if exactly_once else None,
            payload=delivery.payload.decode(),
            expiryS=delivery.expiry_s,
            responseTopic=delivery.response_topic,
            correlation=None if delivery.correlation_data is None else delivery.correlation_data.decode(errors="replace"),
            flagged=delivery.flagged or None,
        )
        if delivery.packet_id is not None:
            self._unreleased.add((session, delivery.packet_id))
        if not delivery.again:
            self._enqueue(device, command)

    def released(self, session: str, packet_id: int) -> None:
        """A message will not come again. For `MqttReceiver`."""
        if (session, packet_id) in self._unreleased:
            self._unreleased.remove((session, packet_id))
            self._log.write("RELEASED", _now_ms(), session=session, packetId=packet_id)

    def leave(self, serial_number: str, reason: str) -> None:
        """A device can neither measure nor answer until `come_back` for the same reason."""
        device = self._devices[serial_number]
        device.absences.add(reason)
        if device.present.is_set():
            device.present.clear()
            self._write("OFFLINE", device, None, detail=reason)
            self._outside.leave(serial_number, reason)

    def come_back(self, serial_number: str, reason: str) -> None:
        """A reason to be away is gone."""
        device = self._devices[serial_number]
        device.absences.discard(reason)
        if not device.absences and not device.present.is_set():
            device.present.set()
            self._write("ONLINE", device, None, detail=reason)
            self._outside.come_back(serial_number, reason)

    def _enqueue(self, device: _Device, command: Command) -> None:
        device.waiting.append(command)
        if device.working is None or device.working.done():
            device.working = self._start(self._work(device), "commands")

    async def _work(self, device: _Device) -> None:
        while device.waiting:
            await self._handle(device, device.waiting.popleft())

    async def _handle(self, device: _Device, command: Command) -> None:
        manners = self._manners(device.identity.serial_number, command.command_id)
        if command.expired(_now_ms()):
            self._write("EXPIRED", device, command)
            self._answer(device, command, manners, "REJECTED", "it had expired when it came")
        elif (refusal := _refusal(device, command, manners)) is not None:
            self._write("REFUSED", device, command, detail=refusal)
            self._answer(device, command, manners, "REJECTED", refusal)
        else:
            self._answer(device, command, manners, "ACCEPTED", None)
            await asyncio.sleep(manners.work_s)
            await device.present.wait()
            if command.expired(_now_ms()):
                self._write("EXPIRED", device, command)
                self._answer(device, command, manners, "FAILED", "it expired before it could be carried out")
            else:
                await self._execute(device, command, manners)

    async def _execute(self, device: _Device, command: Command, manners: Manners) -> None:
        result = "FAILED" if manners.fails else "COMPLETED"
        self._write("EXECUTED", device, command, result=result)
        if manners.fails:
            self._answer(device, command, manners, "FAILED", "an inner fault")
            return
        controls.apply(device.model.controls, device.identity.device_type, command.command, command.parameters)
        if command.command == "REBOOT":
            self.leave(device.identity.serial_number, "rebooting")
            await asyncio.sleep(REBOOT_S)
            self.come_back(device.identity.serial_number, "rebooting")
        self._answer(device, command, manners, "COMPLETED", None)

    def _answer(self, device: _Device, command: Command, manners: Manners, result: str, detail: str | None) -> None:
        payload = answer_payload(command.command_id, result, detail, _now_ms())
        self._start(self._send(device, command, manners, result, payload), "answer")

    async def _send(self, device: _Device, command: Command, manners: Manners, result: str, payload: bytes) -> None:
        if manners.late_s:
            await asyncio.sleep(manners.late_s)
        for _ in range(manners.answers):
            await device.present.wait()
            try:
                await self._outside.publish(device.identity, answer_topic(device.identity), payload)
            except EmsError as error:
                log.error("command_answer_refused", serial_number=device.identity.serial_number, error=str(error))
                return
            self._write("ANSWERED", device, command, result=result)

    def _start(self, work: "asyncio._CoroutineLike[None]", name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _write(self, event: str, device: _Device, command: Command | None, **fields: object) -> None:
        self.counts[event] += 1
        serial_number = device.identity.serial_number
        if command is None:
            self._log.write(event, _now_ms(), serialNumber=serial_number, **fields)
        else:
            self._log.write(event, _now_ms(), serialNumber=serial_number, commandId=command.command_id, command=command.command, **fields)


def _refusal(device: _Device, command: Command, manners: Manners) -> str | None:
    if manners.refuses:
        return "not now"
    try:
        controls.check(device.identity.device_type, command.command, command.parameters)
    except controls.RefusedError as error:
        return str(error)
    return None
