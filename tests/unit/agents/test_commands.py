"""The agent `commands` on one partition: requests, cancellations, answers and time."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.command_work import work_of
from agents.commands import fold_batch
from ems_streams.domain import commands_codec
from ems_streams.domain.command_events import CancelRequest, CommandRequest
from ems_streams.domain.command_table import CommandStatus
from ems_streams.domain.commands import GRACE_MS, OPEN_MAX, Command, handed_over
from ems_streams.domain.events import CommandAck
from ems_streams.domain.heartbeat import Heartbeat
from ems_streams.domain.timestamps import from_epoch_ms
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import (
    DEVICE_COMMAND_ACKS,
    DEVICE_COMMAND_EVENTS,
    DEVICE_COMMANDS,
    DEVICE_NOTIFICATIONS,
    INGRESS_HEARTBEATS,
    dlt_of,
)
from ems_streams.kafka.partition_state import Codec
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.metrics import commands as metrics
from ems_streams.settings import Settings
from tables.commands import command_of, devices_with_work, queue_of
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.builders import NOON_MS, SERIAL
from tests.unit.domain.command_builders import EXPIRES_IN_MS, request


class Worker:
    def __init__(self, directory: Path) -> None:
        app = WorkerApp(Settings(data_dir=directory))
        self.table = StateTable(app, "states", Codec(commands_codec.encode, commands_codec.decode), 1)
        self.writer = Writer()
        self.offsets: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        """As after a recovery."""
        self.partition = opened(self.table, self.writer)

    def fold(self, topic: str, at_ms: int, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        first = self.offsets.get(topic, 0)
        self.offsets[topic] = first + len(records)
        stored = [Stored(first + number, at_ms, key, value) for number, (key, value) in enumerate(records)]
        fold_part(fold_batch, RecordBatch(topic, 0, stored, 0), 0, self.partition)

    def ask(self, *requests: CommandRequest) -> None:
        self.fold(DEVICE_COMMANDS, NOON_MS, [(each.key, each.encode()) for each in requests])

    def answer(self, asked: CommandRequest, result: str, after_ms: int = 5, detail: str | None = None, serial: str = SERIAL) -> None:
        ack = CommandAck(
            command_id=asked.command_id, device_id=1, serial_number=serial, site_id=7, device_type="X", result=result,  # type: ignore[arg-type]  # some
            detail=detail, timestamp=from_epoch_ms(NOON_MS),
        )  # fmt: skip
        self.fold(DEVICE_COMMAND_ACKS, NOON_MS + after_ms, [(serial.encode(), ack.encode())])

    def cancel(self, asked: CommandRequest) -> None:
        cancel = CancelRequest(
            command_id=asked.command_id,
            serial_number=SERIAL,
            requested_at=from_epoch_ms(NOON_MS),
            requested_by="bob",
            requested_from="there",
        )
        self.fold(DEVICE_COMMANDS, NOON_MS + 3, [(cancel.key, cancel.encode())])

    def beat(self, after_ms: int, acks_end: int | None = None) -> None:
        beat = Heartbeat(ingress_id="i", timestamp=from_epoch_ms(NOON_MS + after_ms), telemetry_end=0, acks_end=acks_end)
        self.fold(INGRESS_HEARTBEATS, NOON_MS + after_ms, [(None, beat.encode())])

    def send(self, asked: CommandRequest) -> Command:
        """What the courier does."""
        command = self.command(asked)
        handed_over(command, 1, NOON_MS + 1)
        return command

    def command(self, asked: CommandRequest) -> Command:
        command = command_of(self.partition, asked.command_id)
        assert command is not None
        return command

    def published(self) -> list[tuple[str, Any]]:
        before = len(self.writer.outputs)
        asyncio.run(self.partition.commit())
        return [(topic, orjson.loads(value or b"")) for topic, _, value in self.writer.outputs[before:]]

    def steps(self) -> list[tuple[str, int]]:
        return [(body["status"], body["sequence"]) for topic, body in self.published() if topic == DEVICE_COMMAND_EVENTS]


@pytest.fixture
def worker(tmp_path: Path) -> Iterable[Worker]:
    made = Worker(tmp_path)
    yield made
    asyncio.run(made.table.store.stop())


def test_each_step_is_an_event_and_people_are_told(worker: Worker) -> None:
    asked = request()
    worker.ask(asked)
    worker.send(asked)
    worker.answer(asked, "ACCEPTED")
    worker.answer(asked, "ACCEPTED")
    worker.answer(asked, "COMPLETED")
    published = worker.published()
    events = [body for topic, body in published if topic == DEVICE_COMMAND_EVENTS]
    told = [body for topic, body in published if topic == DEVICE_NOTIFICATIONS]
    assert [(event["status"], event["sequence"]) for event in events] == [("REQUESTED", 1), ("ACCEPTED", 3), ("COMPLETED", 4)]
    assert [each["data"]["eventId"] for each in told] == [event["eventId"] for event in events]
    assert {event["requestedBy"] for event in events} == {"ann"}
    assert {event["requestedFrom"] for event in events} == {"here"}
    assert queue_of(worker.partition, asked.key).open == []


class Counted:
    """What the counters have come to since it was made; they are of the whole process."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> dict[tuple[str, ...], float]:
        families = [family for each in (metrics.COMMANDS, metrics.SECONDS, metrics.STEP_SECONDS) for family in each.collect()]
        samples = [sample for family in families for sample in family.samples if not sample.name.endswith("_bucket")]
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

    def since(self) -> dict[tuple[str, ...], float]:
        return {key: round(value - self._before[key], 6) for key, value in self._now().items() if value != self._before[key]}


def test_each_step_and_each_end_is_counted_once_with_how_long_it_took(worker: Worker) -> None:
    asked, second = request(), request("k2")
    counted = Counted()
    worker.ask(asked, asked, second)
    assert work_of(worker.partition).open == dict.fromkeys((asked.command_id, second.command_id), CommandStatus.REQUESTED)
    worker.send(asked)
    worker.answer(asked, "ACCEPTED", after_ms=2_001)
    worker.answer(asked, "ACCEPTED", after_ms=2_500)
    assert work_of(worker.partition).open[asked.command_id] is CommandStatus.ACCEPTED
    worker.answer(asked, "COMPLETED", after_ms=9_001)
    worker.cancel(second)
    assert counted.since() == {
        ("ems_commands_total", "requested"): 2,
        ("ems_commands_total", "completed"): 1,
        ("ems_commands_total", "cancelled"): 1,
        ("ems_command_seconds_count", "completed"): 1,
        ("ems_command_seconds_sum", "completed"): 9.001,
        ("ems_command_seconds_count", "cancelled"): 1,
        ("ems_command_seconds_sum", "cancelled"): 0.003,
        # Of the step before, which was PUBLISHED a millisecond after the request.
        ("ems_command_step_seconds_count", "accepted"): 1,
        ("ems_command_step_seconds_sum", "accepted"): 2.0,
        ("ems_command_step_seconds_count", "completed"): 1,
        ("ems_command_step_seconds_sum", "completed"): 7.0,
        ("ems_command_step_seconds_count", "cancelled"): 1,
        ("ems_command_step_seconds_sum", "cancelled"): 0.003,
    }
    assert work_of(worker.partition).open == {}


def test_which_commands_are_open_is_known_again_after_a_recovery(worker: Worker) -> None:
    asked, done = request(), request("k2", serial_number="OTHER-1")
    worker.ask(asked, done)
    worker.answer(done, "COMPLETED", serial="OTHER-1")
    asyncio.run(worker.partition.commit())
    worker.open()
    assert work_of(worker.partition).open == {asked.command_id: CommandStatus.REQUESTED}


def test_the_same_request_twice_is_one_command_and_another_one_with_its_key_is_put_aside(worker: Worker) -> None:
    asked = request()
    other = request(fingerprint="f2", parameters={"powerLimitKw": 1.0})
    worker.ask(asked, asked, other)
    published = worker.published()
    assert [topic for topic, _ in published] == [DEVICE_COMMAND_EVENTS, DEVICE_NOTIFICATIONS, dlt_of(DEVICE_COMMANDS)]
    assert published[-1][1]["parameters"] == {"powerLimitKw": 1.0}
    worker.open()
    worker.ask(asked)
    assert worker.published() == [], "also after a recovery"
    assert worker.command(asked).request.parameters == {"powerLimitKw": 40.0}


def test_the_same_request_after_the_end_is_the_same_command(worker: Worker) -> None:
    asked = request()
    worker.ask(asked)
    worker.answer(asked, "REJECTED")
    worker.published()
    worker.open()
    worker.ask(asked)
    assert worker.published() == []
    assert worker.command(asked).status == "REJECTED"


def test_commands_of_a_device_stay_in_order_and_the_next_is_looked_at_when_the_first_has_ended(worker: Worker) -> None:
    one, two = request("k1"), request("k2")
    worker.ask(one, two)
    assert queue_of(worker.partition, one.key).open == [one.command_id, two.command_id]
    work_of(worker.partition).heads.clear()
    worker.answer(one, "COMPLETED")
    assert list(work_of(worker.partition).heads) == [one.key]
    assert queue_of(worker.partition, one.key).open == [two.command_id]


def test_what_is_not_sent_can_be_cancelled_and_nothing_else(worker: Worker) -> None:
    one, two = request("k1"), request("k2")
    worker.ask(one, two)
    worker.send(one)
    worker.published()
    worker.cancel(one)
    worker.cancel(two)
    worker.cancel(two)
    published = [body for topic, body in worker.published() if topic == DEVICE_COMMAND_EVENTS]
    assert [(event["commandId"], event["status"]) for event in published] == [(one.command_id, "PUBLISHED"), (two.command_id, "CANCELLED")]
    assert "cannot be cancelled any more (by bob)" in published[0]["detail"]
    worker.cancel(request("never-asked-for"))
    assert [topic for topic, _ in worker.published()] == [dlt_of(DEVICE_COMMANDS)]


def test_an_answer_to_nothing_or_of_another_device_is_put_aside(worker: Worker) -> None:
    asked = request()
    worker.ask(asked)
    worker.published()
    worker.answer(request("never-asked-for"), "COMPLETED")
    worker.answer(asked, "COMPLETED", serial="INV-002")
    assert [topic for topic, _ in worker.published()] == [dlt_of(DEVICE_COMMAND_ACKS)] * 2
    assert worker.command(asked).status == "REQUESTED"


def test_a_device_that_says_two_things_is_believed_the_first(worker: Worker) -> None:
    asked = request()
    worker.ask(asked)
    worker.answer(asked, "FAILED")
    worker.published()
    worker.answer(asked, "COMPLETED")
    [(_, event), _] = worker.published()
    assert (event["status"], event["previousStatus"]) == ("FAILED", "FAILED")
    assert "answers COMPLETED as well" in event["detail"]


def test_a_command_expires_only_when_all_that_devices_had_answered_is_folded(worker: Worker) -> None:
    asked = request()
    over_ms = EXPIRES_IN_MS + GRACE_MS
    worker.ask(asked)
    worker.send(asked)
    worker.partition.derived.clear()
    worker.published()
    worker.beat(over_ms + 2000)
    assert worker.steps() == [], "an ingress of a release that says nothing about answers"
    worker.beat(over_ms - 1, acks_end=0)
    assert worker.steps() == [], "too early"
    worker.beat(over_ms + 1500, acks_end=1)
    assert worker.steps() == [], "an answer is there that is not folded"
    worker.answer(asked, "COMPLETED", over_ms + 500)
    worker.beat(over_ms + 3000, acks_end=1)
    assert worker.steps() == [("COMPLETED", 3)]


def test_a_command_without_an_answer_expires_once(worker: Worker) -> None:
    asked = request()
    worker.ask(asked)
    worker.send(asked)
    worker.partition.put(b"\x02" + asked.command_id.encode(), worker.command(asked))
    worker.published()
    worker.open()
    worker.beat(EXPIRES_IN_MS + GRACE_MS + 1500, acks_end=0)
    worker.beat(EXPIRES_IN_MS + GRACE_MS + 9000, acks_end=0)
    [(_, event), (_, told)] = worker.published()
    assert (event["status"], event["executed"], event["final"]) == ("EXPIRED", "unknown", True)
    assert told["severity"] == "WARNING"
    worker.answer(asked, "COMPLETED", 100_000)
    [(_, event), _] = worker.published()
    assert (event["status"], event["late"], event["executed"]) == ("COMPLETED", True, "yes")


def test_an_accepted_command_is_waited_for_as_long_as_it_may_take(worker: Worker) -> None:
    asked = request(command="REBOOT", parameters={})
    worker.ask(asked)
    worker.answer(asked, "ACCEPTED", 50_000)
    worker.published()
    worker.beat(EXPIRES_IN_MS + GRACE_MS + 1500, acks_end=0)
    assert worker.steps() == []
    worker.beat(50_000 + 300_000 + 1500, acks_end=0)
    assert worker.steps() == [("EXPIRED", 3)]


def test_a_request_that_is_not_sent_is_left_to_the_courier(worker: Worker) -> None:
    worker.ask(request())
    worker.published()
    worker.beat(10 * EXPIRES_IN_MS, acks_end=0)
    assert worker.steps() == []


def test_too_many_for_one_device_are_cancelled_at_once(worker: Worker) -> None:
    asked = [request(f"k{number}") for number in range(OPEN_MAX + 1)]
    worker.ask(*asked)
    events = [body for topic, body in worker.published() if topic == DEVICE_COMMAND_EVENTS]
    assert [(event["commandId"], event["status"]) for event in events[-2:]] == [
        (asked[-1].command_id, "REQUESTED"),
        (asked[-1].command_id, "CANCELLED"),
    ]
    assert len(queue_of(worker.partition, asked[0].key).open) == OPEN_MAX


def test_what_is_open_is_found_after_a_recovery_and_what_is_over_is_not(worker: Worker) -> None:
    a, b, c = (request("k", serial_number=serial) for serial in ("A", "B", "C"))
    worker.ask(a, b, c)
    worker.published()
    worker.fold(DEVICE_COMMANDS, NOON_MS, [(b"D", request("k", serial_number="D").encode())])
    command = worker.command(b)
    command.request = b
    ack = CommandAck(
        command_id=b.command_id,
        device_id=1,
        serial_number="B",
        site_id=7,
        device_type="X",
        result="COMPLETED",
        timestamp=from_epoch_ms(NOON_MS),
    )
    worker.fold(DEVICE_COMMAND_ACKS, NOON_MS, [(b"B", ack.encode())])
    assert list(devices_with_work(worker.partition)) == [b"A", b"C", b"D"], "also what is not committed"
    worker.published()
    worker.open()
    assert list(work_of(worker.partition).heads) == [b"A", b"C", b"D"]


def test_what_is_malformed_goes_to_the_dead_letters_with_its_bytes(worker: Worker) -> None:
    bad = [(SERIAL.encode(), b"{"), (b"other", request().encode())]
    worker.fold(DEVICE_COMMANDS, NOON_MS, bad)
    worker.fold(DEVICE_COMMAND_ACKS, NOON_MS, [(SERIAL.encode(), b"[]")])
    asyncio.run(worker.partition.commit())
    assert sorted(worker.writer.outputs) == sorted(
        [*((dlt_of(DEVICE_COMMANDS), *each) for each in bad), (dlt_of(DEVICE_COMMAND_ACKS), SERIAL.encode(), b"[]")]
    )
