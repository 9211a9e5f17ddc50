"""What commands do to a device: which ones its type takes, and what they set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODES: Mapping[str, tuple[str, ...]] = {
    "SOLAR_INVERTER": ("NORMAL", "STANDBY"),
    "BATTERY": ("AUTO", "CHARGE", "DISCHARGE", "IDLE"),
    "EV_CHARGER": ("AVAILABLE", "UNAVAILABLE"),
}
_CHARGING = frozenset({"BATTERY", "EV_CHARGER"})
_SHORTEST_INTERVAL_S = 1.0


class RefusedError(Exception):
    """A device does not do what it is told; the text says why."""


@dataclass(slots=True)
class Controls:
    """What has been set on a device; None where nobody has, and the device does as its model wants. It outlives a reboot.

    Attributes:
        power_limit_kw: Most that it gives or draws.
        mode: One of `MODES` of its type.
        charging: Whether it was told to charge, or not to.
        charge_power_kw: Power to charge with.
        charge_target: State of charge to stop at, 0 to 1.
        report_every_s: Shortest time between two of its messages.
    """

    power_limit_kw: float | None = None
    mode: str | None = None
    charging: bool | None = None
    charge_power_kw: float | None = None
    charge_target: float | None = None
    report_every_s: float | None = None

    def limited(self, power_kw: float) -> float:
        """A power within the limit, with its sign."""
        limit_kw = self.power_limit_kw
        return power_kw if limit_kw is None else max(-limit_kw, min(limit_kw, power_kw))


def check(device_type: str, command: str, parameters: Mapping[str, Any]) -> None:
    """Raise `RefusedError` when a device of this type cannot do that. Nothing is changed."""
    _change(Controls(), device_type, command, parameters)


def apply(controls: Controls, device_type: str, command: str, parameters: Mapping[str, Any]) -> None:
    """Do it; raises `RefusedError`, and has changed nothing then. A reboot changes no control."""
    _change(controls, device_type, command, parameters)


def _change(controls: Controls, device_type: str, command: str, parameters: Mapping[str, Any]) -> None:
    match command:
        case "REBOOT":
            return
        case "SET_POWER_LIMIT" if device_type != "METER":
            controls.power_limit_kw = _number(parameters, "powerLimitKw", "kW")
        case "SET_MODE" if device_type in MODES:
            controls.mode = _mode(device_type, parameters)
            controls.charging = None
        case "START_CHARGING" if device_type in _CHARGING:
            power_kw = _number(parameters, "powerKw", "kW") if "powerKw" in parameters else None
            target = _number(parameters, "targetSocPercent", "%") / 100.0 if "targetSocPercent" in parameters else None
            controls.charging, controls.charge_power_kw, controls.charge_target = True, power_kw, target
        case "STOP_CHARGING" if device_type in _CHARGING:
            controls.charging, controls.charge_power_kw, controls.charge_target = False, None, None
        case "SET_REPORTING_INTERVAL" if device_type == "METER":
            controls.report_every_s = max(_SHORTEST_INTERVAL_S, _number(parameters, "intervalS", "s"))
        case _:
            raise RefusedError(f"a {device_type} does not know {command[:80]!r}")


def _number(parameters: Mapping[str, Any], name: str, unit: str) -> float:
    value = parameters.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise RefusedError(f"{name}={value!r:.80}: expected a number of {unit} from 0 on")
    return float(value)


def _mode(device_type: str, parameters: Mapping[str, Any]) -> str:
    mode = parameters.get("mode")
    if not isinstance(mode, str) or mode not in MODES[device_type]:
        raise RefusedError(f"mode={mode!r:.80}: expected one of {', '.join(MODES[device_type])}")
    return mode
