from collections import Counter, defaultdict
from dataclasses import replace
from itertools import islice, pairwise

import pytest

from ems_streams.dev.simulator import FleetOptions, build_fleet, fleet_readings
from ems_streams.dev.simulator.models import Metrics

REQUIRED = ["powerKw", "voltage", "current", "temperature", "efficiency"]
OPTIONS = FleetOptions(seed=7, devices=40, sites=3, rate=200.0, duration_s=20.0, start_ms=1_759_572_900_000)


def day_of(
    device_type: str, *, start: str = "2025-06-21", days: int = 1, step_s: int = 300, devices: int = 24
) -> dict[str, list[tuple[float, Metrics]]]:
    """Measurements of every device of a type over some days, as (model moment, metrics)."""
    from ems_streams.dev.simulator.recording import parse_time_ms

    start_s = parse_time_ms(start) / 1000.0
    options = replace(OPTIONS, devices=devices, model_start_s=start_s)
    fleet = [(device, model) for device, model in build_fleet(options) if device.device_type == device_type]
    assert fleet
    measured: dict[str, list[tuple[float, Metrics]]] = defaultdict(list)
    for number in range(days * 86_400 // step_s):
        for device, model in fleet:
            measured[device.serial_number].append((start_s + number * step_s, model.read(start_s + number * step_s)))
    return measured


def test_same_options_give_the_same_readings() -> None:
    assert list(fleet_readings(OPTIONS)) == list(fleet_readings(OPTIONS))


def test_another_seed_gives_other_readings() -> None:
    ours = [reading.metrics for reading in fleet_readings(OPTIONS)]
    assert ours != [reading.metrics for reading in fleet_readings(replace(OPTIONS, seed=8))]


def test_the_start_moves_the_timestamps_and_makes_other_messages_of_the_same_metrics() -> None:
    moved = replace(OPTIONS, start_ms=OPTIONS.start_ms + 12_345)
    for reading, other in zip(fleet_readings(OPTIONS), fleet_readings(moved), strict=True):
        assert replace(reading, timestamp_ms=reading.timestamp_ms + 12_345, message_id=other.message_id) == other
        assert reading.message_id != other.message_id


def test_a_prefix_makes_other_devices_that_measure_alike() -> None:
    prefixed = list(fleet_readings(replace(OPTIONS, prefix="DEMO-")))
    assert {reading.device.serial_number[:5] for reading in prefixed} == {"DEMO-"}
    assert len({reading.device.serial_number for reading in prefixed}) == OPTIONS.devices


def test_rate_times_duration_readings_evenly_spread_over_time_and_devices() -> None:
    readings = list(fleet_readings(OPTIONS))
    assert len(readings) == 4000
    assert set(Counter(reading.device.serial_number for reading in readings).values()) == {100}
    assert [reading.due_s for reading in readings] == [number / 200.0 for number in range(4000)]
    assert len({reading.message_id for reading in readings}) == 4000


def test_duration_zero_has_no_end() -> None:
    assert len(list(islice(fleet_readings(replace(OPTIONS, duration_s=0.0)), 10_000))) == 10_000


def test_timestamps_of_a_device_rise_strictly_even_beyond_a_thousand_per_second() -> None:
    readings = list(fleet_readings(replace(OPTIONS, devices=1, sites=1, rate=3000.0, duration_s=1.0)))
    stamps = [reading.timestamp_ms for reading in readings]
    assert all(later > earlier for earlier, later in pairwise(stamps))


def test_speed_stretches_device_time_but_not_the_schedule() -> None:
    fast = list(fleet_readings(replace(OPTIONS, speed=60.0)))
    assert fast[-1].due_s == pytest.approx(19.995)
    assert fast[-1].timestamp_ms - OPTIONS.start_ms == pytest.approx(60 * 19_995, abs=1)
    assert {reading.due_s for reading in fleet_readings(replace(OPTIONS, speed=0.0))} == {0.0}


def test_serial_numbers_types_and_sites() -> None:
    devices = [device for device, _ in build_fleet(OPTIONS)]
    assert {device.site_id for device in devices} == {1, 2, 3}
    assert {device.serial_number[:3]: device.device_type for device in devices} == {
        "INV": "SOLAR_INVERTER",
        "BAT": "BATTERY",
        "MTR": "METER",
        "EVC": "EV_CHARGER",
    }
    assert {"INV-00001", "BAT-00001", "MTR-00001", "EVC-00001"} <= {device.serial_number for device in devices}


def test_more_devices_leave_the_earlier_ones_as_they_are() -> None:
    few = {device.serial_number: model.read(1e9) for device, model in build_fleet(OPTIONS)}
    many = {device.serial_number: model.read(1e9) for device, model in build_fleet(replace(OPTIONS, devices=90))}
    assert few.items() <= many.items()


def test_every_device_has_the_seed_metrics_with_three_decimals() -> None:
    for reading in fleet_readings(OPTIONS):
        assert list(reading.metrics)[:5] == REQUIRED
        for value in reading.metrics.values():
            assert type(value) is float
            assert round(value, 3) == value


@pytest.mark.parametrize("device_type", ["SOLAR_INVERTER", "BATTERY", "METER", "EV_CHARGER"])
@pytest.mark.parametrize("start", ["2025-06-21", "2025-12-21"])
def test_power_is_voltage_times_current(device_type: str, start: str) -> None:
    for samples in day_of(device_type, start=start).values():
        for _, metrics in samples:
            apparent_kw = metrics["voltage"] * metrics["current"] / 1000.0
            # Half a thousandth of an ampere and of a kilowatt are rounded away.
            assert apparent_kw * metrics.get("powerFactor", 1.0) == pytest.approx(metrics["powerKw"], abs=0.002)
            assert 0.0 <= metrics["efficiency"] <= 100.0
            assert -30.0 < metrics["temperature"] < 80.0


def test_no_sun_at_night_and_sun_at_noon() -> None:
    for samples in day_of("SOLAR_INVERTER").values():
        at = {int((moment % 86_400) // 3600): metrics for moment, metrics in samples}
        for hour in (23, 0, 1):
            assert at[hour]["powerKw"] == at[hour]["current"] == at[hour]["efficiency"] == at[hour]["irradiance"] == 0.0
        assert at[11]["powerKw"] > 1.0
        assert 90.0 < at[11]["efficiency"] < 99.5


def test_summer_gives_more_sun_than_winter() -> None:
    def yielded(start: str) -> float:
        return sum(metrics["powerKw"] for samples in day_of("SOLAR_INVERTER", start=start).values() for _, metrics in samples)

    assert yielded("2025-06-21") > 2.5 * yielded("2025-12-21") > 0.0


@pytest.mark.parametrize(
    ("device_type", "registers"),
    [
        ("SOLAR_INVERTER", ["energyKwh"]),
        ("METER", ["energyKwh"]),
        ("EV_CHARGER", ["energyKwh"]),
        ("BATTERY", ["chargedKwh", "dischargedKwh"]),
    ],
)
def test_registers_never_go_back(device_type: str, registers: list[str]) -> None:
    for samples in day_of(device_type, days=2).values():
        for register in registers:
            values = [metrics[register] for _, metrics in samples]
            assert values == sorted(values)
            assert values[-1] > values[0]


def test_the_meters_register_is_the_integral_of_its_power() -> None:
    for samples in day_of("METER", step_s=60).values():
        integral = sum(metrics["powerKw"] for _, metrics in samples[1:]) / 60.0
        assert samples[-1][1]["energyKwh"] - samples[0][1]["energyKwh"] == pytest.approx(integral, rel=0.001)


@pytest.mark.parametrize("step_s", [60, 3600, 20_000])
def test_battery_stays_within_its_limits_and_balances(step_s: int) -> None:
    seen_charging = seen_discharging = False
    for samples in day_of("BATTERY", days=10, step_s=step_s).values():
        for (_, before), (_, after) in pairwise(samples):
            assert 0.0 <= after["stateOfCharge"] <= 100.0
            gained, power = after["stateOfCharge"] - before["stateOfCharge"], after["powerKw"]
            assert gained * power <= 0.0, "a battery that gives power does not gain charge"
            seen_charging |= power < 0.0
            seen_discharging |= power > 0.0
            moved_kwh = (after["dischargedKwh"] - before["dischargedKwh"]) - (after["chargedKwh"] - before["chargedKwh"])
            assert moved_kwh == pytest.approx(power * step_s / 3600.0, abs=0.001 * step_s / 3600.0 + 0.003)
    assert seen_charging
    assert seen_discharging


def test_battery_gives_back_less_than_it_took() -> None:
    for samples in day_of("BATTERY", days=20).values():
        first, last = samples[0][1], samples[-1][1]
        charged, given = last["chargedKwh"] - first["chargedKwh"], last["dischargedKwh"] - first["dischargedKwh"]
        # At most 200 kWh of what was given can have been in the battery before.
        assert given < charged * 0.96 * 0.96 + 200.0


def test_ev_sessions_begin_charge_along_a_curve_and_end() -> None:
    arrivals = 0
    for samples in day_of("EV_CHARGER", days=3, step_s=60).values():
        rated = max(metrics["powerKw"] for _, metrics in samples)
        for (_, before), (_, after) in pairwise(samples):
            arrivals += before["connected"] == 0.0 and after["connected"] == 1.0
            assert 0.0 <= after["stateOfCharge"] <= 100.0
            if after["connected"] == 0.0:
                assert after["powerKw"] == after["stateOfCharge"] == after["sessionEnergyKwh"] == 0.0
            elif after["stateOfCharge"] > 85.0:
                assert after["powerKw"] < 0.8 * rated
            if before["connected"] == after["connected"] == 1.0 and before["sessionEnergyKwh"] <= after["sessionEnergyKwh"]:
                assert after["stateOfCharge"] >= before["stateOfCharge"]
    assert arrivals > 5


def test_consumption_has_a_daily_profile() -> None:
    for samples in day_of("METER").values():
        by_hour = defaultdict(list)
        for moment, metrics in samples:
            by_hour[int((moment % 86_400) // 3600)].append(metrics["powerKw"])
        evening, night = sum(by_hour[18]), sum(by_hour[2])
        assert evening > 2.0 * night > 0.0
