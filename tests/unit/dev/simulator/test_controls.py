"""What commands do to the physics of a device."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest

from ems_streams.dev.simulator import FaultPlan, FaultShares, FleetOptions, build_fleet
from ems_streams.dev.simulator.controls import MODES, Controls, RefusedError, apply, check
from ems_streams.dev.simulator.fleet import Reading, fleet_turns
from ems_streams.dev.simulator.models import DeviceModel
from ems_streams.dev.simulator.publications import Kind

OPTIONS = FleetOptions(seed=7, devices=40, sites=3, rate=40.0, duration_s=20.0, start_ms=1_759_572_900_000)
NOON_S = 1_750_507_200.0


def models(device_type: str) -> list[DeviceModel]:
    found = [model for device, model in build_fleet(OPTIONS) if device.device_type == device_type]
    assert found
    return found


def powers(model: DeviceModel, *, from_s: float = NOON_S, hours: int = 8) -> list[float]:
    return [model.read(from_s + 60.0 * minute)["powerKw"] for minute in range(hours * 60)]


@pytest.mark.parametrize("device_type", ["SOLAR_INVERTER", "BATTERY", "EV_CHARGER"])
def test_a_power_limit_caps_the_next_measurement_and_all_after_it(device_type: str) -> None:
    free, capped = models(device_type), models(device_type)
    for model in capped:
        apply(model.controls, device_type, "SET_POWER_LIMIT", {"powerLimitKw": 3.5})
    beyond = 0
    for one, other in zip(free, capped, strict=True):
        beyond += sum(abs(power_kw) > 3.5 for power_kw in powers(one))
        assert max(abs(power_kw) for power_kw in powers(other)) <= 3.5
    assert beyond, "without the limit some are beyond it"


def test_a_limit_above_what_a_device_can_do_changes_nothing() -> None:
    free, capped = models("SOLAR_INVERTER")[0], models("SOLAR_INVERTER")[0]
    apply(capped.controls, "SOLAR_INVERTER", "SET_POWER_LIMIT", {"powerLimitKw": 10_000})
    assert powers(free) == powers(capped)


def test_a_charger_stops_and_starts_again_within_the_power_that_it_is_told() -> None:
    for model in models("EV_CHARGER"):
        apply(model.controls, "EV_CHARGER", "STOP_CHARGING", {})
        assert set(powers(model)) == {0.0}
        apply(model.controls, "EV_CHARGER", "START_CHARGING", {"powerKw": 2.0})
        assert max(powers(model, from_s=NOON_S + 8 * 3600, hours=24)) <= 2.0
    assert any(max(powers(model, from_s=NOON_S + 32 * 3600)) > 0 for model in models("EV_CHARGER"))


def test_a_charger_stops_at_the_state_of_charge_that_it_is_told() -> None:
    for model in models("EV_CHARGER"):
        apply(model.controls, "EV_CHARGER", "START_CHARGING", {"targetSocPercent": 65})
        for minute in range(600):
            metrics = model.read(NOON_S + 60.0 * minute)
            assert metrics["stateOfCharge"] <= 65.0
            assert metrics["powerKw"] == 0.0 or metrics["stateOfCharge"] < 65.0


def test_an_unavailable_charger_and_an_inverter_on_standby_have_no_power() -> None:
    for device_type, mode, back in (("EV_CHARGER", "UNAVAILABLE", "AVAILABLE"), ("SOLAR_INVERTER", "STANDBY", "NORMAL")):
        for model in models(device_type):
            apply(model.controls, device_type, "SET_MODE", {"mode": mode})
            assert set(powers(model, hours=3)) == {0.0}
            apply(model.controls, device_type, "SET_MODE", {"mode": back})
        assert any(max(powers(model, from_s=NOON_S + 3 * 3600)) > 0 for model in models(device_type))


@pytest.mark.parametrize(("mode", "low", "high"), [("IDLE", 0.0, 0.0), ("CHARGE", -1e9, 0.0), ("DISCHARGE", 0.0, 1e9)])
def test_a_battery_does_what_its_mode_says(mode: str, low: float, high: float) -> None:
    for model in models("BATTERY"):
        apply(model.controls, "BATTERY", "SET_MODE", {"mode": mode})
        measured = powers(model, hours=2)
        assert low <= min(measured) <= max(measured) <= high
        assert mode == "IDLE" or any(measured)


def test_a_battery_charges_with_the_power_it_is_told_until_it_is_told_to_stop() -> None:
    for model in models("BATTERY"):
        apply(model.controls, "BATTERY", "START_CHARGING", {"powerKw": 0.5})
        assert set(powers(model, hours=1)) <= {-0.5, 0.0}
        apply(model.controls, "BATTERY", "STOP_CHARGING", {})
        assert min(powers(model, from_s=NOON_S + 3600)) >= 0.0


@pytest.mark.parametrize(
    ("device_type", "command", "parameters"),
    [
        ("METER", "SET_POWER_LIMIT", {"powerLimitKw": 1}),
        ("METER", "SET_MODE", {"mode": "AUTO"}),
        ("SOLAR_INVERTER", "START_CHARGING", {}),
        ("SOLAR_INVERTER", "DANCE", {}),
        ("SOLAR_INVERTER", "SET_POWER_LIMIT", {}),
        ("SOLAR_INVERTER", "SET_POWER_LIMIT", {"powerLimitKw": "5"}),
        ("SOLAR_INVERTER", "SET_POWER_LIMIT", {"powerLimitKw": True}),
        ("SOLAR_INVERTER", "SET_POWER_LIMIT", {"powerLimitKw": -1}),
        ("SOLAR_INVERTER", "SET_POWER_LIMIT", {"powerLimitKw": float("nan")}),
        ("BATTERY", "SET_MODE", {"mode": "STANDBY"}),
        ("BATTERY", "SET_MODE", {"mode": ["AUTO"]}),
        ("EV_CHARGER", "SET_REPORTING_INTERVAL", {"intervalS": 5}),
    ],
)
def test_what_a_device_cannot_do_changes_nothing(device_type: str, command: str, parameters: dict[str, Any]) -> None:
    controls = Controls()
    with pytest.raises(RefusedError):
        check(device_type, command, parameters)
    with pytest.raises(RefusedError):
        apply(controls, device_type, command, parameters)
    assert controls == Controls()


def test_every_type_can_be_rebooted_and_knows_its_modes() -> None:
    for device_type in ("SOLAR_INVERTER", "BATTERY", "EV_CHARGER", "METER"):
        check(device_type, "REBOOT", {})
    for device_type, modes in MODES.items():
        for mode in modes:
            check(device_type, "SET_MODE", {"mode": mode})


def until_next(publications: Iterator[Any]) -> Any:
    return next(each for each in publications if each.kind is not Kind.STATUS)


def test_a_device_measures_when_it_is_its_turn_and_not_before() -> None:
    options = replace(OPTIONS, devices=1, sites=1, rate=1.0, duration_s=0.0, model_start_s=NOON_S)
    fleet = build_fleet(options)
    [(device, model)] = fleet
    publications = FaultPlan(7, FaultShares()).publications(fleet_turns(options, fleet))
    assert until_next(publications).kind is Kind.TURN
    assert until_next(publications).reading.metrics["powerKw"] > 1.0
    turn = until_next(publications)
    assert (turn.kind, turn.due_s) == (Kind.TURN, 1.0)
    apply(model.controls, device.device_type, "SET_POWER_LIMIT", {"powerLimitKw": 1.0})
    assert until_next(publications).reading.metrics["powerKw"] == 1.0


def test_a_meter_reports_as_seldom_as_it_is_told() -> None:
    options = replace(OPTIONS, devices=2, sites=1, rate=2.0, duration_s=60.0)
    fleet = build_fleet(options)
    meter = next(model for device, model in fleet if device.device_type == "METER")
    apply(meter.controls, "METER", "SET_REPORTING_INTERVAL", {"intervalS": 10})
    readings = [each for each in fleet_turns(options, fleet) if isinstance(each, Reading)]
    stamps = [each.timestamp_ms for each in readings if each.device.device_type == "METER"]
    assert len(stamps) == 6
    assert {later - earlier for earlier, later in pairwise(stamps)} == {10_000}
    assert sum(each.device.device_type != "METER" for each in readings) == 60


def test_a_device_that_is_away_says_so_and_nothing_more_until_it_is_back() -> None:
    options = replace(OPTIONS, devices=1, sites=1, rate=1.0, duration_s=0.0)
    plan = FaultPlan(7, FaultShares(out_of_order=1.0))
    fleet = build_fleet(options)
    serial_number = fleet[0][0].serial_number
    publications = (each for each in plan.publications(fleet_turns(options, fleet)) if each.kind is not Kind.TURN)
    assert [each.kind for each in islice(publications, 3)] == [Kind.STATUS, Kind.TELEMETRY, Kind.TELEMETRY]
    now_ms = options.start_ms + 1_500
    last = plan.leave(serial_number, 1.5, now_ms, "rebooting")
    assert [each.kind for each in last] == [Kind.STATUS]
    assert last[0].status == {
        "serialNumber": serial_number, "siteId": 1, "status": "OFFLINE", "reason": "rebooting", "timestamp": "2025-10-04T10:15:01.500Z",
    }  # fmt: skip
    assert plan.leave(serial_number, 1.6, now_ms + 100, "connection lost") == []
    first = plan.come_back(serial_number, 4.5, now_ms + 3_000, "rebooted")
    assert [each.status["status"] for each in first if each.status] == ["ONLINE"]
    assert plan.come_back(serial_number, 4.6, now_ms + 3_100, "rebooted") == []


def test_readings_of_a_device_that_is_away_are_left_out() -> None:
    options = replace(OPTIONS, devices=2, sites=1, rate=2.0, duration_s=10.0)
    plan = FaultPlan(7, FaultShares())
    fleet = build_fleet(options)
    away, there = (device.serial_number for device, _ in fleet)
    plan.leave(away, 0.0, options.start_ms, "connection lost")
    topics = {each.topic for each in plan.publications(fleet_turns(options, fleet)) if each.kind is not Kind.TURN}
    assert topics == {f"sites/1/devices/{there}/telemetry", f"sites/1/devices/{there}/status"}
