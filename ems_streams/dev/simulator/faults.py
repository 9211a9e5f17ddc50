"""From readings to publications, with everything going wrong on the way that was asked for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from ems_streams.dev.simulator.fault_shares import FaultShares
from ems_streams.dev.simulator.fleet import Identity, Reading, Turn
from ems_streams.dev.simulator.poison import poison_messages
from ems_streams.dev.simulator.publications import Kind, Publication, duplicate, status_report, telemetry, turn

_LATE_MS = (60_000, 7_200_000)
_SKEW_MS = (2_000, 300_000)
_SILENCE_MS = (20_000, 90_000)
_SPEECH_MS = (5_000, 60_000)
_FLAP_EVERY_MS = (10_000, 40_000)
_FLAP_STEP_MS = 5
_FLAPS = (2, 4)
_POISON_CHUNK = 64


@dataclass(slots=True)
class _Device:
    """What is wrong with one device, and where it is in it; times are of its own clock."""

    identity: Identity
    random: Random
    skew_ms: int
    silent: bool
    loses_connection: bool
    flapping: bool
    clock_ms: int = 0
    silence_from_ms: int = 0
    silence_until_ms: int = 0
    flap_at_ms: int = 0
    down: bool = False
    held: Reading | None = None


class FaultPlan:
    """Turns readings into publications; equal seeds, shares and readings give equal publications.

    A fault takes nothing from the physics: without faults the same seed measures the same values.
    """

    def __init__(self, seed: int, shares: FaultShares) -> None:
        self._seed = seed
        self._shares = shares
        self._devices: dict[str, _Device] = {}
        self._away: set[str] = set()
        self._poison_random = Random(f"{seed}/poison")
        self._poison: Iterator[tuple[str, str, bytes]] = iter(())

    def publications(self, readings: Iterable[Turn | Reading]) -> Iterator[Publication]:
        """Every publication, in the order in which to publish; each device starts with an ONLINE report."""
        for reading in readings:
            if isinstance(reading, Turn):
                yield turn(reading.due_s)
                continue
            if reading.device.serial_number in self._away:
                continue
            device = self._devices.get(reading.device.serial_number)
            if device is None:
                device = self._introduce(reading)
                yield self._report(device, reading.due_s, "ONLINE", "device started")
            device.clock_ms = max(device.clock_ms, reading.timestamp_ms + device.skew_ms)
            if device.silent and self._is_silent(device):
                yield from self._fall_silent(device, reading.due_s)
                continue
            if device.down:
                device.down = False
                yield self._report(device, reading.due_s, "ONLINE", "device communication restored")
            yield from self._measurement(device, self._misdated(device, reading))
            if device.flapping and device.clock_ms >= device.flap_at_ms:
                yield from self._flap(device, reading.due_s)
            if self._shares.poison and device.random.random() < self._shares.poison:
                yield self._poisonous(device, reading.due_s)

    def leave(self, serial_number: str, due_s: float, timestamp_ms: int, reason: str) -> list[Publication]:
        """A device is away until `come_back`; what it says last. `timestamp_ms` is the time now, before any fault of its clock."""
        self._away.add(serial_number)
        device = self._devices.get(serial_number)
        if device is None:
            return []
        last = list(self._release(device, due_s))
        if not device.down:
            device.down = True
            last.append(self._report_now(device, due_s, "OFFLINE", reason, timestamp_ms))
        return last

    def come_back(self, serial_number: str, due_s: float, timestamp_ms: int, reason: str) -> list[Publication]:
        """A device is there again; what it says first."""
        self._away.discard(serial_number)
        device = self._devices.get(serial_number)
        if device is None or not device.down:
            return []
        device.down = False
        return [self._report_now(device, due_s, "ONLINE", reason, timestamp_ms)]

    def finish(self, due_s: float, goodbye: bool) -> Iterator[Publication]:
        """What is still held back, and with `goodbye` an OFFLINE report of every device that is up."""
        for device in self._devices.values():
            yield from self._release(device, due_s)
            if goodbye and not device.down:
                device.down = True
                device.clock_ms += 1
                yield self._report(device, due_s, "OFFLINE", "simulation ended")

    def _introduce(self, reading: Reading) -> _Device:
        """Draws decide what is wrong with a device, in a fixed order, so that one share does not move another's victims."""
        identity, shares = reading.device, self._shares
        random = Random(f"{self._seed}/faults/{identity.serial_number}")
        skewed, silent, flapping, announced = (random.random() for _ in range(4))
        skew_ms = random.randint(*_SKEW_MS) * random.choice((-1, 1))
        device = _Device(
            identity,
            random,
            skew_ms=skew_ms if skewed < shares.clock_skew else 0,
            silent=silent < shares.silence,
            loses_connection=announced < 0.5,
            flapping=flapping < shares.flapping,
        )
        device.clock_ms = reading.timestamp_ms + device.skew_ms
        device.flap_at_ms = device.clock_ms + random.randint(1_000, _FLAP_EVERY_MS[1])
        self._next_silence(device)
        self._devices[identity.serial_number] = device
        return device

    @staticmethod
    def _next_silence(device: _Device) -> None:
        device.silence_from_ms = device.clock_ms + device.random.randint(*_SPEECH_MS)
        device.silence_until_ms = device.silence_from_ms + device.random.randint(*_SILENCE_MS)

    def _is_silent(self, device: _Device) -> bool:
        if device.clock_ms >= device.silence_until_ms:
            self._next_silence(device)
        return device.clock_ms >= device.silence_from_ms

    def _fall_silent(self, device: _Device, due_s: float) -> Iterator[Publication]:
        yield from self._release(device, due_s)
        if device.loses_connection and not device.down:
            device.down = True
            yield self._report(device, due_s, "OFFLINE", "connection lost")

    def _misdated(self, device: _Device, reading: Reading) -> Reading:
        timestamp_ms = device.clock_ms
        if self._shares.late and device.random.random() < self._shares.late:
            timestamp_ms -= device.random.randint(*_LATE_MS)
        return reading if timestamp_ms == reading.timestamp_ms else replace(reading, timestamp_ms=timestamp_ms)

    def _measurement(self, device: _Device, reading: Reading) -> Iterator[Publication]:
        if device.held is None and self._shares.out_of_order and device.random.random() < self._shares.out_of_order:
            device.held = reading
            return
        yield from self._copies(device, reading)
        yield from self._release(device, reading.due_s)

    def _release(self, device: _Device, due_s: float) -> Iterator[Publication]:
        held, device.held = device.held, None
        if held is not None:
            yield from self._copies(device, replace(held, due_s=due_s))

    def _copies(self, device: _Device, reading: Reading) -> Iterator[Publication]:
        publication = telemetry(reading)
        yield publication
        if self._shares.duplicates and device.random.random() < self._shares.duplicates:
            yield duplicate(publication)

    def _flap(self, device: _Device, due_s: float) -> Iterator[Publication]:
        moment_ms = device.clock_ms
        for _ in range(device.random.randint(*_FLAPS)):
            yield status_report(device.identity, due_s, "OFFLINE", "flapping", moment_ms + _FLAP_STEP_MS)
            yield status_report(device.identity, due_s, "ONLINE", "flapping", moment_ms + 2 * _FLAP_STEP_MS)
            moment_ms += 2 * _FLAP_STEP_MS
        device.flap_at_ms = device.clock_ms + device.random.randint(*_FLAP_EVERY_MS)

    def _poisonous(self, device: _Device, due_s: float) -> Publication:
        message = next(self._poison, None)
        if message is None:
            known = [(each.identity.site_id, each.identity.serial_number) for each in self._devices.values()]
            self._poison = _first(_POISON_CHUNK, poison_messages(self._poison_random, known))
            message = next(self._poison)
        label, topic, payload = message
        return Publication(Kind.POISON, due_s, device.identity.index, topic, payload, label=label)

    def _report_now(self, device: _Device, due_s: float, status: str, reason: str, timestamp_ms: int) -> Publication:
        device.clock_ms = max(device.clock_ms + 1, timestamp_ms + device.skew_ms)
        return self._report(device, due_s, status, reason)

    @staticmethod
    def _report(device: _Device, due_s: float, status: str, reason: str) -> Publication:
        return status_report(device.identity, due_s, status, reason, device.clock_ms)


def _first(count: int, messages: Iterator[tuple[str, str, bytes]]) -> Iterator[tuple[str, str, bytes]]:
    """The poison is drawn anew now and then, in the names of all devices met so far."""
    for _, message in zip(range(count), messages, strict=False):
        yield message
