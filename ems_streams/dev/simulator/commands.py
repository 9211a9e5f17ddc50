"""Commands to a simulated fleet: the MQTT sessions that they come through, and what the devices have to do with the rest of a run."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ems_streams.dev.simulator.command_desk import CommandDesk
from ems_streams.dev.simulator.command_faults import CommandFaults, absences, is_sometimes_offline, manners
from ems_streams.dev.simulator.command_log import CommandLog
from ems_streams.dev.simulator.faults import FaultPlan
from ems_streams.dev.simulator.fleet import FleetOptions, Identity
from ems_streams.dev.simulator.models import DeviceModel
from ems_streams.dev.simulator.publications import Publication
from ems_streams.dev.simulator.runner import Publisher, Runner
from ems_streams.dev.simulator.wire import command_topic
from ems_streams.errors import DependencyError, EmsError
from ems_streams.mqtt.receipts import Receipts
from ems_streams.mqtt.receiver import MqttReceiver

EVERY_DEVICE = "sites/+/devices/+/commands"
CONNECT_TIMEOUT_S = 30.0
_NO_CONNECTION = "connection lost"

Connect = Callable[..., MqttReceiver]
"""`MqttReceiver` without broker and login, which whoever runs the simulation knows."""


class TakenOverError(EmsError):
    """Another simulator has taken the sessions of these devices."""


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """How a fleet takes commands.

    Attributes:
        fleet: What the fleet was made of.
        faults: How it misbehaves.
        log: File for what was done; None for none.
    """

    fleet: FleetOptions
    faults: CommandFaults = field(default_factory=CommandFaults)
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What else there is of a run.

    Attributes:
        fleet: The devices, as `build_fleet` has made them.
        plan: Is told when a device is away.
        runner: Publishes what a device says of that.
        publishers: Connections for the answers, as the runner has them.
    """

    fleet: Sequence[tuple[Identity, DeviceModel]]
    plan: FaultPlan
    runner: Runner
    publishers: Sequence[Publisher]


class Commands:
    """A fleet that takes commands for as long as the context lasts.

    One persistent session with one wildcard subscription takes the commands of all devices, and each device picks its own: a broker keeps one
    queue instead of a thousand, and one process holds one connection instead of a thousand sockets with a buffer each. A device that
    loses its connection now and then has a session of its own, since only so does the broker keep what is sent to it meanwhile.

    The sessions' names are made from the prefix of the serial numbers, not from seed or process: whoever simulates these devices next
    gets what was sent to them in between.

    Args:
        options: What to do.
        world: The rest of the run.
        connect: Makes receivers.

    Attributes:
        start_ms: Device time at the start of the run; may be set until then.
        error: Why the run was stopped, if it was.
    """

    def __init__(self, options: CommandOptions, world: World, connect: Connect) -> None:
        self._options = options
        self._fleet = world.fleet
        self._plan = world.plan
        self._runner = world.runner
        self._publishers = world.publishers
        self._connect = connect
        self._log = CommandLog(options.log)
        self._closing = contextlib.AsyncExitStack()
        self.start_ms = options.fleet.start_ms
        self.error: TakenOverError | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            opening.enter_context(self._log)
            seed, faults = self._options.fleet.seed, self._options.faults
            moody = partial(manners, seed, faults=faults)
            sessions = {each.serial_number: self._session_of(each) for each, _ in self._fleet}
            self.desk = CommandDesk(self._fleet, sessions, self._log, moody, self)
            opening.push_async_callback(self.desk.stop)
            receipts = self._receipts(self._shared_session)
            shared = await opening.enter_async_context(self._receiver(self._shared_session, EVERY_DEVICE, receipts))
            lonely = [each for each, _ in self._fleet if self._is_lonely(each)]
            present = [asyncio.Event() for _ in lonely]
            tasks = [asyncio.create_task(self._come_and_go(*each), name="absences") for each in zip(lonely, present, strict=True)]
            opening.push_async_callback(_end, tasks)
            await _in_time(shared.wait_connected(), *(each.wait() for each in present))
            self.desk.resume()
            self._closing = opening.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._closing.aclose()

    def totals(self) -> dict[str, int]:
        """How often each step was taken, by the names of the log in lower case."""
        names = ("RECEIVED", "RESENT", "MALFORMED", "REFUSED", "EXPIRED", "EXECUTED", "ANSWERED")
        return {name.lower(): self.desk.counts[name] for name in names}

    async def publish(self, device: Identity, topic: str, payload: bytes) -> None:
        """Return when the broker has an answer."""
        await self._publishers[device.index % len(self._publishers)].publish(topic, payload)

    def leave(self, serial_number: str, reason: str) -> None:
        """A device measures nothing until it comes back, and says so before it goes."""
        self._publish_all(self._plan.leave(serial_number, self._runner.elapsed_s, self._device_time_ms(), reason))

    def come_back(self, serial_number: str, reason: str) -> None:
        """A device measures again."""
        self._publish_all(self._plan.come_back(serial_number, self._runner.elapsed_s, self._device_time_ms(), reason))

    def _publish_all(self, publications: list[Publication]) -> None:
        for publication in publications:
            self._runner.publish_now(publication)

    def _device_time_ms(self) -> int:
        """As readings have it that are made now."""
        return self.start_ms + int(self._runner.elapsed_s * (self._options.fleet.speed or 1.0) * 1000.0)

    @property
    def _shared_session(self) -> str:
        return f"ems-simulated-{self._options.fleet.prefix}devices"

    def _is_lonely(self, device: Identity) -> bool:
        return is_sometimes_offline(self._options.fleet.seed, device.serial_number, self._options.faults)

    def _session_of(self, device: Identity) -> str:
        return f"ems-simulated-device-{device.serial_number}" if self._is_lonely(device) else self._shared_session

    def _receipts(self, session: str) -> Receipts:
        return Receipts(self._log.left.unreleased.get(session, {}).items())

    def _receiver(self, session: str, pattern: str, receipts: Receipts) -> MqttReceiver:
        return self._connect(
            session,
            pattern,
            partial(self.desk.take, session),
            on_release=partial(self.desk.released, session),
            on_taken_over=partial(self._taken_over, session),
            receipts=receipts,
        )

    async def _come_and_go(self, device: Identity, there: asyncio.Event) -> None:
        session = self._session_of(device)
        receipts = self._receipts(session)
        turns = absences(self._options.fleet.seed, device.serial_number)
        while True:
            present_s, away_s = turns.next()
            async with self._receiver(session, command_topic(device), receipts) as receiver:
                await receiver.wait_connected()
                if there.is_set():
                    self.desk.come_back(device.serial_number, _NO_CONNECTION)
                there.set()
                await asyncio.sleep(present_s)
            # Only when it is gone: what is sent from here on waits in the broker.
            self.desk.leave(device.serial_number, _NO_CONNECTION)
            await asyncio.sleep(away_s)

    def _taken_over(self, session: str) -> None:
        prefix = self._options.fleet.prefix
        self.error = TakenOverError(
            f"another client has taken the MQTT session {session}: is there a second simulator with --commands and --prefix {prefix!r}?"
        )
        self._runner.stop()


async def _in_time(*waits: "asyncio._CoroutineLike[object]") -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.gather(*waits)
    except TimeoutError:
        raise DependencyError(f"the MQTT broker has granted no subscription to commands within {CONNECT_TIMEOUT_S:g} s") from None


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
