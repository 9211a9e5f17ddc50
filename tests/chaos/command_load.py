"""Commands for a fleet, asked for at the gateway at a steady rate, while everything else is being broken."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, Self

import aiohttp

from tests.chaos.harness import SEED, System
from tests.support.processes import Running, eventually, get

CONCURRENT_MAX = 30
ANSWER_TIMEOUT_S = 15.0
GIVE_UP_S = 120.0
_TYPES = {"INV": "SOLAR_INVERTER", "BAT": "BATTERY", "MTR": "METER", "EVC": "EV_CHARGER"}
_LEVELS_KW = (1.0, 2.5, 4.0, 7.5, 12.0)
_PROGRESS_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A device that can be told something."""

    serial_number: str
    device_type: str


def commands_for(device_type: str, random: Random) -> tuple[str, dict[str, Any]]:
    """A command that a device of this type takes, now and then a reboot."""
    if random.random() < 0.01 or device_type == "METER":
        return ("REBOOT", {}) if device_type != "METER" else ("SET_REPORTING_INTERVAL", {"intervalS": random.choice((1, 2, 5))})
    if device_type == "EV_CHARGER" and random.random() < 0.5:
        return random.choice(("START_CHARGING", "STOP_CHARGING")), {}
    if device_type == "BATTERY" and random.random() < 0.3:
        return "SET_MODE", {"mode": random.choice(("AUTO", "IDLE", "CHARGE"))}
    return "SET_POWER_LIMIT", {"powerLimitKw": random.choice(_LEVELS_KW)}


@dataclass
class Fleet:
    """A simulator whose devices take commands, and their own log."""

    process: Running
    log: Path
    targets: list[Target]


def start_fleet(system: System, *, devices: int, faults: str, rate: float) -> Fleet:
    """Start devices, and wait until every one of them is known to the gateway."""
    log = system.deployment.directory / "device-commands.jsonl"
    arguments = ["simulate", "--seed", str(SEED), "--prefix", "K-", "--devices", str(devices), "--rate", str(rate), "--duration", "0"]
    arguments += ["--command-log", str(log), "--command-faults", faults]
    process = system.deployment.start("simulator-K", arguments, 0, {})
    found: dict[str, str] = {}

    def all_known() -> bool:
        system.look_after()
        cursor = ""
        while True:
            status, body = get(f"{system['gateway'].url}/api/v1/devices?limit=500{cursor}")
            if status != 200:
                return False
            # The registry knows the type of a device by its first measurement.
            serials = (each["serialNumber"] for each in body["devices"] if each["latest"])
            found.update({serial: _TYPES[serial[2:5]] for serial in serials if serial.startswith("K-")})
            if not body.get("nextCursor"):
                return len(found) == devices
            cursor = f"&cursor={body['nextCursor']}"

    eventually(all_known, 120.0, f"{devices} devices are known")
    return Fleet(process, log, [Target(serial, kind) for serial, kind in sorted(found.items())])


@dataclass
class CommandLoad:
    """Asks for commands in a thread of its own. What the gateway does not answer with 202 is asked for again with the same key, as a client would.

    Attributes:
        asked: Device of each command that was accepted, by its id.
        repeated: Requests that had to be made again, by what the gateway had said.
        lost: Commands that were never accepted.
    """

    system: System
    fleet: Fleet
    commands: int
    rate: float
    expires_in_s: int
    asked: dict[str, Target] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(f"{SEED}/commands")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    @property
    def duration_s(self) -> float:
        return self.commands / self.rate

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def finish(self, timeout_s: float = 600.0) -> None:
        """Wait for the end; fails when not every command was accepted."""
        self._thread.join(self.duration_s + timeout_s)
        assert not self.running, f"{len(self.asked)} of {self.commands} commands asked for"
        assert not self.lost, f"never accepted: {self.lost[:5]}"
        assert len(self.asked) == self.commands

    def __str__(self) -> str:
        return f"{self.commands} commands to {len(self.fleet.targets)} devices at {self.rate:g}/s"

    async def _run(self) -> None:
        started_s = time.monotonic()
        room = asyncio.Semaphore(CONCURRENT_MAX)
        progress = asyncio.create_task(self._tell())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)) as session, asyncio.TaskGroup() as tasks:
            for number, target in zip(range(self.commands), cycle(self.fleet.targets), strict=False):
                await asyncio.sleep(max(0.0, started_s + number / self.rate - time.monotonic()))
                await room.acquire()
                tasks.create_task(self._ask(session, number, target)).add_done_callback(lambda _: room.release())
        progress.cancel()

    async def _ask(self, session: aiohttp.ClientSession, number: int, target: Target) -> None:
        command, parameters = commands_for(target.device_type, self._random)
        body = {"command": command, "parameters": parameters, "expiresInS": self.expires_in_s, "requestedBy": "chaos"}
        give_up_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_s:
            said = await self._post(session, target, body, f"chaos-{SEED}-{number}")
            if said is not None:
                self.asked[said["commandId"]] = target
                return
            await asyncio.sleep(0.5)
        self.lost.append(f"{number} for {target.serial_number}")

    async def _post(self, session: aiohttp.ClientSession, target: Target, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        url = f"{self.system['gateway'].url}/api/v1/devices/{target.serial_number}/commands"
        try:
            async with session.post(url, json=body, headers={"Idempotency-Key": key}) as answer:
                if answer.status == 202:
                    view: dict[str, Any] = await answer.json()
                    return view
                assert answer.status >= 500, f"{target}: {answer.status} {await answer.text()}"
                self.repeated[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.repeated[type(error).__name__] += 1
        return None

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            print(f"  {len(self.asked)} of {self.commands} commands asked for, {self.repeated.total()} requests repeated", flush=True)
