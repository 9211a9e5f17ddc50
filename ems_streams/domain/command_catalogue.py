"""Which commands each type of device takes, with which parameters, in which units and between which limits.

A device's own limits are in its registry entry: `limits.maxPowerKw` and `limits.minPowerKw`, or `limits.powerKw.max` and `.min`. They make the
catalogue's narrower, never wider.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ems_streams.domain.refusals import shown
from ems_streams.domain.registry import UNKNOWN_TYPE
from ems_streams.errors import EmsError

Value = float | str
Parameters = dict[str, Value]

POWER_MAX_KW: Final = 100_000.0
"""Beyond every device there is: a slip of a unit, such as watts for kilowatts, is refused also where the registry has no limit."""
_NOTHING_SENT: Final = "nothing is sent until it is mended"


class CommandError(EmsError):
    """A command that is not sent: it is not in the catalogue, or one of its fields has a value that it cannot have.

    Args:
        field: Where it is wrong, such as `parameters.powerLimitKw`.
        value: What was given; None when it is missing.
        expected: In words.
        limit: The bound that the value is beyond, if it is that.
        limit_of: Where that bound comes from, such as `limits.maxPowerKw` of the registry, or `catalogue`.
    """

    def __init__(self, field: str, value: object, expected: str, *, limit: float | None = None, limit_of: str | None = None) -> None:
        said = "missing" if value is None else shown(value)
        super().__init__(f"{field}={said}: {expected}")
        self.field = field
        # A header may have bytes that are no text, and no JSON either.
        text = value.encode(errors="replace").decode() if isinstance(value, str) else None
        self.value = value if isinstance(value, int | float | bool) else text
        self.expected = expected
        self.limit = limit
        self.limit_of = limit_of


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        # An integer beyond all floats.
        return False


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number.

    Attributes:
        minimum: Least value.
        maximum: Greatest value.
        metric: What the registry's limits call it, such as `powerKw`; None when a device has no limits of its own for it.
        optional: Whether it may be left out.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    metric: str | None = None
    optional: bool = False

    def check(self, value: object, limits: Mapping[str, Any]) -> Value:
        """The value; raises `CommandError` when it is no number, or beyond a limit."""
        field = f"parameters.{self.name}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise CommandError(field, value, f"expected a number of {self.unit}")
        for limit, origin in self._lower(limits):
            if value < limit:
                raise CommandError(field, value, f"must be at least {limit:g} {self.unit} ({origin})", limit=limit, limit_of=origin)
        for limit, origin in self._upper(limits):
            if value > limit:
                raise CommandError(field, value, f"must be at most {limit:g} {self.unit} ({origin})", limit=limit, limit_of=origin)
        return float(value)

    def _lower(self, limits: Mapping[str, Any]) -> Iterable[tuple[float, str]]:
        return [*self._registered(limits, "min"), (self.minimum, "catalogue")]

    def _upper(self, limits: Mapping[str, Any]) -> Iterable[tuple[float, str]]:
        return [*self._registered(limits, "max"), (self.maximum, "catalogue")]

    def _registered(self, limits: Mapping[str, Any], bound: str) -> Iterable[tuple[float, str]]:
        if self.metric is None:
            return
        plain = f"{bound}{self.metric[0].upper()}{self.metric[1:]}"
        nested = limits.get(self.metric)
        if nested is not None and not isinstance(nested, dict):
            raise CommandError(f"limits.{self.metric}", nested, f"the registry's limit is no object of min and max; {_NOTHING_SENT}")
        for name, limit in (
            (f"limits.{plain}", limits.get(plain)),
            (f"limits.{self.metric}.{bound}", nested.get(bound) if isinstance(nested, dict) else None),
        ):
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not _is_finite(limit):
                # Nobody may guess what was meant to keep a device safe.
                raise CommandError(name, limit, f"the registry's limit is no number; {_NOTHING_SENT}")
            yield float(limit), name

    def view(self) -> dict[str, Any]:
        """For people."""
        own = [f"limits.{bound}{self.metric[0].upper()}{self.metric[1:]}" for bound in ("min", "max")] if self.metric else []
        return {
            "name": self.name, "type": "number", "unit": self.unit, "minimum": self.minimum, "maximum": self.maximum,
            "required": not self.optional, "deviceLimits": own,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of some words."""

    name: str
    allowed: tuple[str, ...]
    optional: bool = False

    def check(self, value: object, _: Mapping[str, Any]) -> Value:
        """The value; raises `CommandError` when it is none of the words."""
        if not isinstance(value, str) or value not in self.allowed:
            raise CommandError(f"parameters.{self.name}", value, f"expected one of {', '.join(self.allowed)}")
        return value

    def view(self) -> dict[str, Any]:
        """For people."""
        return {"name": self.name, "type": "choice", "allowed": list(self.allowed), "required": not self.optional}


@dataclass(frozen=True, slots=True)
class CommandType:
    """A command of the catalogue.

    Attributes:
        purpose: One line for people.
        completes_within_s: How long a device that has accepted it may take before nobody waits for the result any more.
    """

    name: str
    purpose: str
    parameters: tuple[Number | Choice, ...] = ()
    completes_within_s: int = 60

    def check(self, given: Mapping[str, object], limits: Mapping[str, Any]) -> Parameters:
        """Its parameters; raises `CommandError`, which names field, value and limit."""
        known = {each.name: each for each in self.parameters}
        for name, value in given.items():
            if name not in known:
                expected = f"{self.name} takes {', '.join(known) or 'no parameters'}"
                raise CommandError(f"parameters.{name[:64]}", value, expected)
        checked: Parameters = {}
        for name, parameter in known.items():
            if name in given:
                checked[name] = parameter.check(given[name], limits)
            elif not parameter.optional:
                raise CommandError(f"parameters.{name}", None, f"{self.name} needs it")
        return checked

    def view(self) -> dict[str, Any]:
        """For people."""
        return {
            "command": self.name, "purpose": self.purpose, "completesWithinS": self.completes_within_s,
            "parameters": [each.view() for each in self.parameters],
        }  # fmt: skip


def _power(name: str, *, optional: bool = False) -> Number:
    return Number(name, "kW", 0.0, POWER_MAX_KW, "powerKw", optional)


_POWER_LIMIT: Final = CommandType("SET_POWER_LIMIT", "give or draw at most so much from now on", (_power("powerLimitKw"),), 30)
_REBOOT: Final = CommandType("REBOOT", "start the device anew", completes_within_s=300)
_TARGET: Final = Number("targetSocPercent", "%", 0.0, 100.0, "stateOfCharge", optional=True)
_START_CHARGING: Final = CommandType("START_CHARGING", "begin to charge", (_power("powerKw", optional=True), _TARGET), 120)
_STOP_CHARGING: Final = CommandType("STOP_CHARGING", "stop charging", (), 120)


def _mode(*modes: str) -> CommandType:
    return CommandType("SET_MODE", "work in another mode", (Choice("mode", modes),), 60)


def _of(*commands: CommandType) -> dict[str, CommandType]:
    return {command.name: command for command in commands}


CATALOGUE: Final[dict[str, dict[str, CommandType]]] = {
    "SOLAR_INVERTER": _of(_POWER_LIMIT, _mode("NORMAL", "STANDBY"), _REBOOT),
    "BATTERY": _of(_POWER_LIMIT, _START_CHARGING, _STOP_CHARGING, _mode("AUTO", "CHARGE", "DISCHARGE", "IDLE"), _REBOOT),
    "EV_CHARGER": _of(_POWER_LIMIT, _START_CHARGING, _STOP_CHARGING, _mode("AVAILABLE", "UNAVAILABLE"), _REBOOT),
    "METER": _of(
        CommandType("SET_REPORTING_INTERVAL", "report so often", (Number("intervalS", "s", 1.0, 3600.0, "reportingIntervalS"),), 30),
        _REBOOT,
    ),
    UNKNOWN_TYPE: _of(_POWER_LIMIT, _REBOOT),
}
"""By type of device. A type that is not in it has the commands of `UNKNOWN`: those that nearly every device has."""


def commands_of(device_type: str) -> Mapping[str, CommandType]:
    """What a type of device takes, by name."""
    return CATALOGUE.get(device_type, CATALOGUE[UNKNOWN_TYPE])


def check_command(device_type: str, command: object, parameters: object, limits: Mapping[str, Any]) -> tuple[CommandType, Parameters]:
    """The command and its parameters; raises `CommandError`, which names field, value and limit.

    Args:
        device_type: Type of the device.
        command: Name of the command.
        parameters: By name; None for none.
        limits: Of the device, from its registry entry.
    """
    known = commands_of(device_type)
    if not isinstance(command, str) or command not in known:
        expected = f"a device of type {device_type} takes {', '.join(sorted(known))}"
        raise CommandError("command", command, expected)
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise CommandError("parameters", parameters, "expected an object of parameters by name")
    return known[command], known[command].check(parameters, limits)


def catalogue_view(device_type: str | None = None) -> dict[str, Any]:
    """The catalogue for people, of one type or of all."""
    types = CATALOGUE if device_type is None else {device_type: commands_of(device_type)}
    return {name: [each.view() for each in commands.values()] for name, commands in types.items()}
