"""What people are told of a device that flaps, or that is worked on."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.due_index import NEVER_MS
from ems_streams.domain.events import DeviceStatus, Notification, NotificationKind, Severity, StatusEvent, format_time
from ems_streams.domain.flapping import FlappingPolicy
from ems_streams.domain.maintenance import Device, MaintenanceWindow, MaintenanceWindows, decode_windows, window_of
from ems_streams.domain.notices import DeviceNotices, due_ms, flapping_view, on_transition, tick
from ems_streams.domain.notices_codec import decode, encode
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import from_epoch_ms, to_epoch_ms
from ems_streams.errors import MalformedError
from tests.unit.domain.builders import NOON_MS, SERIAL

POLICY = FlappingPolicy(6.0, 300_000)
ONLINE, OFFLINE, ERROR, UNKNOWN = DeviceStatus.ONLINE, DeviceStatus.OFFLINE, DeviceStatus.ERROR, DeviceStatus.UNKNOWN


@dataclass
class People:
    """A device and what people are told of it."""

    windows: MaintenanceWindows = field(default_factory=MaintenanceWindows)
    policy: FlappingPolicy = POLICY
    notices: DeviceNotices | None = None
    told: list[Notification] = field(default_factory=list)
    sequence: int = 0
    status: DeviceStatus = UNKNOWN

    def change(self, status: DeviceStatus, second: float) -> None:
        self.sequence += 1
        event = StatusEvent(
            event_id=f"e-{self.sequence}",
            sequence=self.sequence,
            device_id=1,
            serial_number=SERIAL,
            site_id=1,
            device_type="METER",
            previous_status=self.status,
            new_status=status,  # type: ignore[arg-type]  # never UNKNOWN
            timestamp=from_epoch_ms(NOON_MS + round(second * 1000)),
            reason="why",
        )
        self.status = status
        stored = None if self.notices is None else decode(encode(self.notices))
        self.notices, told = on_transition(stored, event, NOON_MS + round(second * 1000), self.windows, self.policy)
        self.told += told

    def at(self, second: float) -> list[Notification]:
        assert self.notices is not None
        self.notices = decode(encode(self.notices))
        told = tick(self.notices, NOON_MS + round(second * 1000), self.windows, self.policy)
        self.told += told
        return told


def kinds(people: People) -> list[str]:
    return [each.kind for each in people.told]


def test_a_device_that_flaps_100_times_is_told_of_a_few_times() -> None:
    people = People()
    people.change(ONLINE, 0)
    for number in range(100):
        people.change(OFFLINE, 10 + 4 * number)
        people.change(ONLINE, 12 + 4 * number)
    assert kinds(people) == ["STATUS_CHANGE"] * 6 + ["FLAPPING_STARTED"]
    assert people.told[-1].message == (
        "INV-001 is flapping (site 1): 6 changes of status since 2025-10-04T12:00:10Z, the last to ONLINE. "
        "Its changes are not told one by one until it is still; an error is."
    )
    assert people.notices is not None
    end_ms = due_ms(people.notices, people.windows, POLICY)
    # Three half-lives for a score at its ceiling.
    assert abs(end_ms - (NOON_MS + 408_000 + 900_000)) < 1000
    second = (end_ms - NOON_MS) / 1000
    assert people.at(second - 0.002) == []
    [ended] = people.at(second + 20)
    assert (ended.kind, ended.severity, to_epoch_ms(ended.timestamp)) == (NotificationKind.FLAPPING_ENDED, Severity.INFO, end_ms)
    assert ended.message == (
        "INV-001 is no longer flapping (site 1): it changed its status 195 times since 2025-10-04T12:00:20Z "
        "and is online since 2025-10-04T12:06:48Z."
    )
    assert people.at(second + 10_000) == []
    assert due_ms(people.notices, people.windows, POLICY) == NEVER_MS
    people.change(OFFLINE, second + 10_000)
    assert kinds(people)[-1] == "STATUS_CHANGE"
    assert len({each.notification_id for each in people.told}) == len(people.told) == 9


def test_a_device_shows_that_it_is_flapping_for_as_long_as_it_is() -> None:
    people = People()
    people.change(ONLINE, 0)
    assert people.notices is not None
    shown = []
    for number in range(4):
        people.change(OFFLINE, 10 + 4 * number)
        people.change(ONLINE, 12 + 4 * number)
        shown.append(flapping_view(people.notices))
    assert shown[:2] == [None, None]
    assert shown[2:] == [{"since": "2025-10-04T12:00:20Z", "changes": 1}, {"since": "2025-10-04T12:00:20Z", "changes": 3}]
    people.at(3600)
    assert flapping_view(people.notices) is None


def test_an_error_is_told_once_while_it_flaps() -> None:
    people = People()
    for number in range(20):
        people.change(OFFLINE, 10 * number)
        people.change(ERROR if number >= 10 else ONLINE, 10 * number + 5)
    errors = [each for each in people.told if each.severity is Severity.CRITICAL]
    assert [each.data["newStatus"] for each in errors] == [ERROR]
    assert errors[0].message.endswith("It is flapping.")


def test_changes_far_apart_are_told_one_by_one_and_a_threshold_of_0_tells_all() -> None:
    for people, every_s in ((People(), 600), (People(policy=FlappingPolicy(0, 300_000)), 1)):
        for number in range(100):
            people.change(OFFLINE if number % 2 else ONLINE, every_s * number)
        assert kinds(people) == ["STATUS_CHANGE"] * 100


def window(first_s: float, last_s: float, window_id: str | None = "w", **scope: object) -> MaintenanceWindow:
    fields: dict[str, object] = {} if window_id is None else {"windowId": window_id}
    fields |= {
        "devices": [SERIAL], "reason": "inverter swap", "createdBy": "ann",
        "startsAt": format_time(from_epoch_ms(NOON_MS) + timedelta(seconds=first_s)),
        "endsAt": format_time(from_epoch_ms(NOON_MS) + timedelta(seconds=last_s)),
    }  # fmt: skip
    return window_of({**fields, **scope})


def people_with(*windows: MaintenanceWindow) -> People:
    people = People()
    for each in windows:
        people.windows.put(each)
    people.change(ONLINE, 0)
    return people


def test_in_a_window_nothing_is_told_and_after_it_how_it_stands() -> None:
    people = people_with(window(100, 200), window(150, 300, "w2"))
    people.change(OFFLINE, 100)
    people.change(ONLINE, 120)
    people.change(OFFLINE, 160)
    assert kinds(people) == ["STATUS_CHANGE"]
    assert people.at(299) == []
    [told] = people.at(300)
    assert (told.data["newStatus"], told.data["sequence"], told.data["maintenanceWindowId"]) == (OFFLINE, 4, "w2")
    assert told.message.endswith("This was not told before because of maintenance window w2.")
    assert people.at(301) == []


def test_who_is_as_before_when_the_window_ends_is_not_told_of() -> None:
    people = people_with(window(100, 200))
    people.change(OFFLINE, 110)
    people.change(ONLINE, 120)
    assert people.at(200) == []
    assert people.notices is not None
    assert due_ms(people.notices, people.windows, POLICY) == NEVER_MS


def test_flapping_in_a_window_is_told_only_if_it_goes_on_after_it() -> None:
    people = people_with(window(100, 200))
    for number in range(40):
        people.change(ONLINE if number % 2 else OFFLINE, 101 + number * 2)
    [told] = people.at(200)
    assert told.kind is NotificationKind.FLAPPING_STARTED


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        ({"devices": [SERIAL]}, True), ({"devices": ["B"]}, False), ({"devices": [], "sites": [1]}, True), ({"devices": [], "sites": [2]}, False),
        ({"devices": [], "deviceTypes": ["METER"]}, True), ({"devices": ["B"], "sites": [2], "deviceTypes": ["METER"]}, True),
    ],
)  # fmt: skip
def test_devices_sites_and_types(scope: dict[str, object], inside: bool) -> None:
    windows = MaintenanceWindows()
    windows.put(window(0, 10, **scope))
    device = Device(SERIAL, 1, "METER")
    assert [windows.active(device, NOON_MS + ms) is not None for ms in (-1, 0, 9_999, 10_000)] == [False, inside, inside, False]
    assert decode_windows(windows.encode()) == windows


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devices": []}, "at least one of devices, sites and deviceTypes"),
        ({"endsAt": "2025-10-04T12:00:00Z"}, "endsAt after startsAt"),
        ({"endsAt": "tomorrow"}, "endsAt='tomorrow'"),
        ({"sites": ["one"]}, "sites.0='one'"),
        ({"device": ["A"]}, "device: there is no such field; expected some of createdBy, deviceTypes"),
        ({"reason": " "}, "reason=' '"),
        ({"windowId": "a b"}, "windowId='a b'"),
    ],
)
def test_a_window_that_is_none_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(MalformedError) as raised:
        window(0, 10, **changes)
    assert words in raised.value.detail


def test_the_same_request_twice_is_one_window() -> None:
    assert window(0, 10, None).window_id == window(0, 10, None).window_id != window(0, 11, None).window_id


@given(st.lists(st.tuples(st.sampled_from([ONLINE, OFFLINE, ERROR]), st.integers(0, 300)), min_size=1, max_size=60))
def test_in_the_end_people_know_how_it_stands(changes: list[tuple[DeviceStatus, int]]) -> None:
    people, second = People(), 0
    people.windows.put(window(500, 1500))
    for status, gap_s in changes:
        second += gap_s
        if people.notices is not None:
            people.at(second - 0.001)
        if status is not people.status:
            people.change(status, second)
    for later_s in range(0, 5000, 100):
        people.at(second + 1500 + later_s)
    last = people.told[-1]
    assert last.data.get("newStatus", last.data.get("status")) == people.status
    assert len({each.notification_id for each in people.told}) == len(people.told)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"\x01[]", b"\x01{}"])
def test_what_are_no_notices_is_refused(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="device notices"):
        decode(data)
