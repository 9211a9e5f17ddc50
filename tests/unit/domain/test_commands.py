"""The life of a command, its stored form, and the queue of a device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import commands_codec
from ems_streams.domain.command_events import CommandEvent, command_id_of, of_step, serial_number_of
from ems_streams.domain.command_table import FINAL, CommandInput, CommandStatus
from ems_streams.domain.commands import (
    DONE_KEPT,
    DONE_KEPT_MS,
    GRACE_MS,
    STEPS_KEPT,
    Command,
    Delivery,
    DeviceHistory,
    DeviceQueue,
    Done,
    answer,
    command_view,
    contradicts,
    handed_over,
    happen,
    lost_sight_of,
    refused,
    taken,
)
from ems_streams.domain.events import decode
from ems_streams.domain.state_codec import StateCodecError
from tests.unit.domain.builders import NOON_MS, SERIAL
from tests.unit.domain.command_builders import EXPIRES_IN_MS, begun, request


def test_a_life_that_goes_well() -> None:
    command = begun()
    events = [
        handed_over(command, 9, NOON_MS + 1),
        taken(command, NOON_MS + 2),
        answer(command, "ACCEPTED", NOON_MS + 3, "will do"),
        answer(command, "COMPLETED", NOON_MS + 4, None),
    ]
    assert [event.status for event in events if event] == ["PUBLISHED", "DELIVERED", "ACCEPTED", "COMPLETED"]
    assert [event.executed for event in events if event] == ["unknown", "unknown", "unknown", "yes"]
    assert [step.sequence for step in command.steps] == [1, 2, 3, 4, 5]
    assert command_view(command)["steps"][3] == {
        "sequence": 4,
        "status": "ACCEPTED",
        "timestamp": "2025-10-04T12:00:00.003Z",
        "detail": "will do",
    }


def test_an_answer_that_comes_twice_or_out_of_order_says_nothing_new() -> None:
    command = begun()
    handed_over(command, 9, NOON_MS + 1)
    assert answer(command, "COMPLETED", NOON_MS + 2, None) is not None
    assert answer(command, "COMPLETED", NOON_MS + 3, None) is None
    assert answer(command, "ACCEPTED", NOON_MS + 4, None) is None
    # The broker's word comes after the device's own.
    assert taken(command, NOON_MS + 5) is None
    assert (command.status, command.delivery, command.late) == ("COMPLETED", Delivery.DONE, False)
    assert not contradicts(command, "ACCEPTED")
    assert contradicts(command, "FAILED")


@pytest.mark.parametrize("result", ["COMPLETED", "FAILED", "REJECTED"])
def test_a_device_that_answers_after_the_expiry_is_believed(result: str) -> None:
    command = begun()
    handed_over(command, 9, NOON_MS + 1)
    gone = happen(command, CommandInput.TIME, NOON_MS + 80_000)
    assert gone is not None
    assert (gone.status, gone.executed, gone.final) == ("EXPIRED", "unknown", True)
    assert answer(command, "ACCEPTED", NOON_MS + 81_000, None) is None
    late = answer(command, result, NOON_MS + 82_000, None)
    assert late is not None
    assert (late.status, late.late, late.previous_status) == (result, True, "EXPIRED")
    assert "The answer came late" in of_step(late).message


def test_what_was_never_sent_was_certainly_not_carried_out() -> None:
    command = begun()
    event = happen(command, CommandInput.TIME, NOON_MS + EXPIRES_IN_MS)
    assert event is not None
    assert event.executed == "no"
    assert "did not do it" in of_step(event).message


def test_a_refusal_of_the_broker_is_tried_again_after_pauses_that_double_up_to_a_minute() -> None:
    command = begun()
    pauses = []
    for attempt in range(9):
        handed_over(command, attempt + 1, NOON_MS)
        event = refused(command, "QUOTA_EXCEEDED", NOON_MS)
        assert event is not None
        assert "QUOTA_EXCEEDED" in (event.detail or "")
        pauses.append(command.next_try_ms - NOON_MS)
    assert pauses == [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]
    assert not command.may_be_sent(command.next_try_ms - 1)
    assert (command.status, command.delivery, command.executed) == ("REQUESTED", Delivery.NONE, "no")


def test_delivery_that_is_unknown_is_never_sent_again() -> None:
    command = begun()
    handed_over(command, 9, NOON_MS)
    event = lost_sight_of(command, "the broker has lost the session", NOON_MS + 1)
    assert event is not None
    assert (event.status, event.previous_status, event.executed) == ("PUBLISHED", "PUBLISHED", "unknown")
    assert not command.may_be_sent(NOON_MS + 2)
    answer(command, "COMPLETED", NOON_MS + 3, None)
    assert lost_sight_of(command, "again", NOON_MS + 4) is None


def test_it_is_not_sent_in_its_last_second() -> None:
    command = begun()
    assert command.may_be_sent(NOON_MS + EXPIRES_IN_MS - 1000)
    assert not command.may_be_sent(NOON_MS + EXPIRES_IN_MS - 999)


def test_who_has_accepted_has_the_time_that_the_command_takes() -> None:
    command = begun(command="REBOOT", parameters={})
    assert command.deadline_ms == NOON_MS + EXPIRES_IN_MS + GRACE_MS
    answer(command, "ACCEPTED", NOON_MS + 50_000, None)
    assert command.deadline_ms == NOON_MS + 50_000 + 300_000


def test_steps_are_bounded_and_keep_the_first() -> None:
    command = begun()
    for _ in range(100):
        handed_over(command, 1, NOON_MS)
        refused(command, "no", NOON_MS)
    assert len(command.steps) == STEPS_KEPT
    assert (command.steps[0].sequence, command.steps[-1].sequence) == (1, 201)


def test_a_queue_lets_the_next_one_be_the_first_when_the_first_has_ended() -> None:
    one, two = begun("k1"), begun("k2")
    ids = [one.request.command_id, two.request.command_id]
    queue = DeviceQueue(list(ids))
    handed_over(one, 4, NOON_MS)
    assert not queue.settle(one)
    answer(one, "COMPLETED", NOON_MS, None)
    assert queue.settle(one)
    assert (queue.open, queue.flows) == ([ids[1]], [ids[0]]), "its packet id is in use still"
    taken(one, NOON_MS)
    assert not queue.settle(one)
    assert (queue.open, queue.flows, queue.idle) == ([ids[1]], [], False)
    happen(two, CommandInput.CANCEL, NOON_MS)
    assert queue.settle(two)
    assert queue.idle


def test_a_history_is_bounded_by_number_and_age() -> None:
    history = DeviceHistory()
    for number in range(DONE_KEPT):
        assert history.add(f"c{number}", NOON_MS) == []
    assert history.add("one more", NOON_MS) == ["c0"]
    assert len(history.done) == DONE_KEPT
    assert len(history.add("much later", NOON_MS + DONE_KEPT_MS)) == DONE_KEPT
    assert history.done == [Done("much later", NOON_MS + DONE_KEPT_MS)]


@given(st.text("ABC012_.:~-", min_size=1, max_size=20).filter(lambda text: text[0] not in "_.:~-"), st.text(min_size=1, max_size=20))
def test_an_id_names_its_device_and_is_the_same_for_the_same_key(serial_number: str, key: str) -> None:
    assert serial_number_of(command_id_of(serial_number, key)) == serial_number
    assert command_id_of(serial_number, key) == command_id_of(serial_number, key) != command_id_of(serial_number, key + "x")


@pytest.mark.parametrize("text", ["", "x", "~0123456789abcdef", "A~", "A~0123"])
def test_what_is_no_id_names_nobody(text: str) -> None:
    assert serial_number_of(text) is None


inputs = st.lists(st.sampled_from(["send", "take", "refuse", "lose", "time", "cancel", "ACCEPTED", "REJECTED", "COMPLETED", "FAILED"]))


@given(inputs)
def test_whatever_happens_it_is_stored_and_read_as_it_is(happened: list[str]) -> None:
    command = begun()
    for number, each in enumerate(happened, 1):
        _do(command, each, number)
        data = commands_codec.encode(command)
        read = commands_codec.decode(data)
        assert read == command
        assert commands_codec.encode(read) == data


@given(inputs)
def test_the_first_final_answer_of_a_device_is_the_last_word(happened: list[str]) -> None:
    command = begun()
    answers = []
    for number, each in enumerate(happened, 1):
        _do(command, each, number)
        if each in {"REJECTED", "COMPLETED", "FAILED"}:
            answers.append(each)
        if answers:
            assert command.status == answers[0]
        elif command.status in FINAL:
            assert command.status in {CommandStatus.EXPIRED, CommandStatus.CANCELLED}
    assert command.status is not CommandStatus.CANCELLED or command.executed == "no"


def _do(command: Command, what: str, number: int) -> None:
    at_ms = NOON_MS + number
    if what == "send" and command.may_be_sent(at_ms):
        handed_over(command, number, at_ms)
    elif what == "take" and command.delivery is Delivery.PUBLISHING:
        taken(command, at_ms)
    elif what == "refuse" and command.delivery is Delivery.PUBLISHING:
        refused(command, "why", at_ms - 60_000)
    elif what == "lose" and command.delivery is Delivery.PUBLISHING:
        lost_sight_of(command, "why", at_ms)
    elif what == "time":
        happen(command, CommandInput.TIME, at_ms)
    elif what == "cancel":
        happen(command, CommandInput.CANCEL, at_ms)
    elif what.isupper():
        answer(command, what, at_ms, None)


def test_a_history_forgets_nothing_that_the_broker_is_not_done_with() -> None:
    """Its packet id could not be let go of, and a later command with that id would be taken for a repetition."""
    history = DeviceHistory()
    for number in range(DONE_KEPT):
        history.add(f"c{number}", NOON_MS)
    assert history.add("one more", NOON_MS, busy=["c0"]) == []
    assert history.add("and another", NOON_MS, busy=["c0"]) == ["c1"]
    assert history.add("done with", NOON_MS) == ["c0", "c2"]


def test_a_device_that_has_accepted_what_we_believe_unsent_may_have_done_it() -> None:
    command = begun()
    answer(command, "ACCEPTED", NOON_MS + 1, None)
    happen(command, CommandInput.TIME, NOON_MS + 2)
    assert (command.status, command.delivery, command.executed) == ("EXPIRED", Delivery.NONE, "unknown")


@pytest.mark.parametrize("record", [DeviceQueue(["a"], ["b"]), DeviceHistory([Done("a", 1)]), 17], ids=["queue", "history", "connection"])
def test_other_records_are_stored_and_read_as_they_are(record: commands_codec.CommandRecord) -> None:
    assert commands_codec.decode(commands_codec.encode(record)) == record


@pytest.mark.parametrize("data", [b"", b"\x07[]", b"\x01[]", b"\x01{", b"\x41[1]", b'\x81["a"]', b'\xc1"x"', b"\x01[{},1,2,3,4,5,6,7,8,9]"])
def test_damage_is_said(data: bytes) -> None:
    with pytest.raises(StateCodecError, match="stored commands cannot be read"):
        commands_codec.decode(data)


def test_a_step_on_the_wire_is_what_people_are_told_of() -> None:
    command = begun()
    event = happen(command, CommandInput.ANSWERED_FAILED, NOON_MS + 1500, "overheated.")
    assert event is not None
    assert decode(CommandEvent, event.encode()) == event
    told = of_step(event)
    assert (told.kind, told.severity, told.title) == ("COMMAND_UPDATE", "WARNING", f"SET_POWER_LIMIT for {SERIAL} failed on the device")
    assert told.message == f"SET_POWER_LIMIT for {SERIAL} failed on the device (site 7): overheated. Requested by ann."
    assert told.data == {
        "eventId": f"{request().command_id}:2",
        "commandId": request().command_id,
        "command": "SET_POWER_LIMIT",
        "parameters": {"powerLimitKw": 40.0},
        "status": "FAILED",
        "previousStatus": "REQUESTED",
        "sequence": 2,
        "detail": "overheated.",
        "final": True,
        "late": False,
        "executed": "no",
        "requestedBy": "ann",
    }
