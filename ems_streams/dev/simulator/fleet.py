"""The devices of a simulation and what they measure, message by message."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from ems_streams.dev.simulator.battery import Battery
from ems_streams.dev.simulator.ev_charger import EvCharger
from ems_streams.dev.simulator.meter import Meter
from ems_streams.dev.simulator.models import DeviceModel, Metrics
from ems_streams.dev.simulator.site import Site
from ems_streams.dev.simulator.solar import SolarInverter

# What a site is made of, in the order in which its devices are counted out.
_PATTERN: tuple[type[DeviceModel], ...] = (SolarInverter, Meter, Battery, EvCharger, SolarInverter, SolarInverter, Meter, EvCharger)

DEFAULT_MODEL_START_S = 1_750_496_400.0
"""21 June 2025, 9:00 UTC: the moment of the model at which a run without a fixed start begins, so that it shows sun."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is: what its topic and its payload say of it."""

    index: int
    serial_number: str
    site_id: int
    device_type: str


@dataclass(slots=True)
class Reading:
    """One telemetry message of a device.

    Attributes:
        due_s: When to publish it, in seconds since the start of the run.
        device: Who measured it.
        sequence: Number of the reading within its device, from 0.
        timestamp_ms: Device time, milliseconds since the epoch; rises strictly within a device as long as no fault moves it.
        message_id: Unique for a seed and a start; the same for the same of both.
        metrics: Values with three decimals.
        acknowledged: Whether the broker has said that it has this message, in one of its copies.
    """

    due_s: float
    device: Identity
    sequence: int
    timestamp_ms: int
    message_id: str
    metrics: Metrics
    acknowledged: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """The moment at which the next device measures, in seconds since the start of the run: nothing is measured before.

    Without it, a reading is made as soon as the one before it is published, and knows nothing of a command in between.
    """

    due_s: float


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What determines a simulation; equal options give equal readings.

    Attributes:
        seed: Any integer.
        devices: How many devices, dealt out to the sites in turn.
        sites: How many sites, numbered from 1.
        rate: Messages per second of all devices together.
        duration_s: Length of the run; 0 is without end.
        start_ms: Device time at the start, milliseconds since the epoch.
        model_start_s: Moment of the model at the start, seconds since the epoch; decides on season and hour of the day.
        prefix: Goes before every serial number, so that two fleets on one stack are different devices.
        speed: How many seconds pass for the devices in one second of the run; 0 publishes without waiting, one second in one second.
    """

    seed: int
    devices: int
    sites: int
    rate: float
    duration_s: float
    start_ms: int
    model_start_s: float = DEFAULT_MODEL_START_S
    speed: float = 1.0
    prefix: str = ""

    @property
    def readings(self) -> int | None:
        """How many readings there will be; `None` without end."""
        return round(self.rate * self.duration_s) if self.duration_s else None


def build_fleet(options: FleetOptions) -> list[tuple[Identity, DeviceModel]]:
    """Every device with its model; serial numbers count up within a type: INV-00001, BAT-00001, MTR-00001, EVC-00001."""
    sites = [Site(options.seed, number) for number in range(1, options.sites + 1)]
    counts: dict[str, int] = {}
    fleet = []
    for index in range(options.devices):
        model_type = _PATTERN[(index // options.sites) % len(_PATTERN)]
        site = sites[index % options.sites]
        number = counts[model_type.serial_prefix] = counts.get(model_type.serial_prefix, 0) + 1
        serial = f"{model_type.serial_prefix}-{number:05d}"
        model = model_type(site, Random(f"{options.seed}/device/{serial}"))
        fleet.append((Identity(index, options.prefix + serial, site.site_id, model_type.device_type), model))
    return fleet


def message_id(seed: int, start_ms: int, serial_number: str, sequence: int) -> str:
    """`42-18f3a1b2c00-INV-00001-00000017`: sorts by sequence within a device.

    With the start of the run in it, a second run is not taken for the first one sent again.
    """
    return f"{seed}-{start_ms:x}-{serial_number}-{sequence:08d}"


def fleet_readings(options: FleetOptions) -> Iterator[Reading]:
    """The readings of a fleet, by due time: the devices take turns in an order of their own, evenly spread over time."""
    return (each for each in fleet_turns(options, build_fleet(options)) if isinstance(each, Reading))


def fleet_turns(options: FleetOptions, fleet: list[tuple[Identity, DeviceModel]]) -> Iterator[Turn | Reading]:
    """The readings of the devices of `build_fleet`, each behind its turn."""
    fleet = list(fleet)
    Random(f"{options.seed}/turns").shuffle(fleet)
    speed = options.speed or 1.0
    last_ms = [0] * len(fleet)
    total, number = options.readings, 0
    while total is None or number < total:
        sequence, turn = divmod(number, len(fleet))
        device, model = fleet[turn]
        elapsed_s = number / options.rate
        number += 1
        due_s = elapsed_s if options.speed else 0.0
        yield Turn(due_s)
        now_ms = options.start_ms + int(elapsed_s * speed * 1000.0)
        every_s = model.controls.report_every_s
        if every_s is not None and now_ms - last_ms[turn] < every_s * 1000.0:
            continue
        # Two readings of a device never share a millisecond, or "the last value" would have no meaning.
        timestamp_ms = last_ms[turn] = max(now_ms, last_ms[turn] + 1)
        yield Reading(
            due_s=due_s,
            device=device,
            sequence=sequence,
            timestamp_ms=timestamp_ms,
            message_id=message_id(options.seed, options.start_ms, device.serial_number, sequence),
            metrics=model.read(options.model_start_s + elapsed_s * speed),
        )
