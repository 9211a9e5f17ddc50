"""The courier of a partition with the real broker, killed at every step: each command reaches its device once, and no step is forgotten.

The partition's writer stands for Kafka here: it says which commit is durable, and which is the last one before the end.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.command_courier import Courier
from agents.command_work import work_of
from agents.commands import fold_batch
from ems_streams.dev.stack import EmbeddedStack
from ems_streams.domain import commands_codec
from ems_streams.domain.command_events import CommandRequest
from ems_streams.domain.commands import Command
from ems_streams.kafka.batching import KeyValue
from ems_streams.kafka.careful_fold import fold_part
from ems_streams.kafka.catalogue import DEVICE_COMMANDS
from ems_streams.kafka.partition_state import Codec, PartitionState
from ems_streams.kafka.record_batch import RecordBatch
from ems_streams.kafka.state_table import StateTable
from ems_streams.kafka.transactions import FencedError
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.mqtt.endpoint import broker_of
from ems_streams.mqtt.exact_session import AnswerKind, BrokerAnswer
from ems_streams.settings import Settings
from tables.commands import command_of
from tests.support.command_device import CommandDevice
from tests.support.partition import Stored, Writer, opened
from tests.unit.domain.command_builders import request

pytestmark = pytest.mark.integration


class KilledError(Exception):
    """The process has ended here."""


class FailingWriter(Writer):
    """Takes so many commits, and none after them."""

    def __init__(self, commits: int = 10_000) -> None:
        super().__init__()
        self.left = commits

    async def commit(self, outputs: Mapping[tuple[str, int], Sequence[KeyValue]]) -> dict[tuple[str, int], int]:
        if not self.left:
            raise FencedError("somebody else has the partition")
        self.left -= 1
        return await super().commit(outputs)


class Site:
    """A partition and the device that its commands are for."""

    def __init__(self, stack: EmbeddedStack, directory: Path) -> None:
        self.name = uuid.uuid4().hex[:8]
        self.settings = Settings.load(mqtt_url=stack.mqtt_url, data_dir=directory)
        self.table = StateTable(WorkerApp(self.settings), "states", Codec(commands_codec.encode, commands_codec.decode), 1)
        self.device = CommandDevice(stack.mqtt_url, f"sites/7/devices/{self.name}/commands", f"device-{self.name}")
        self.now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.offset = 0
        self.open()

    def open(self, writer: Writer | None = None) -> PartitionState[Any]:
        """What is durable, in the hands of a new owner."""
        self.partition = opened(self.table, writer or FailingWriter())
        return self.partition

    def ask(self, key: str, expires_in_s: float = 60.0, serial: str | None = None) -> CommandRequest:
        now = datetime.now(UTC).replace(microsecond=0)
        asked = request(key, serial_number=serial or self.name, requested_at=now, expires_at=now + timedelta(seconds=expires_in_s))
        batch = RecordBatch(DEVICE_COMMANDS, 0, [Stored(self.offset, 0, asked.key, asked.encode())], 0)
        self.offset += 1
        fold_part(fold_batch, batch, 0, self.partition)
        return asked

    def courier(self) -> Courier:
        return Courier(self.partition, self.settings, f"commands-{self.name}", broker_of(self.settings), self.now_ms)

    def command(self, asked: CommandRequest) -> Command:
        command = command_of(self.partition, asked.command_id)
        assert command is not None
        return command

    async def run_until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Run a courier until something is so."""
        task = asyncio.create_task(self.courier().run())
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run_and_kill(self, packets: int, *, after: bool) -> None:
        """Run a courier that is killed at one of its packets, just before or just after it has gone out."""
        courier = self.courier()
        write, left = courier.session._write, packets

        def counted(number: int, data: bytes) -> bool:
            nonlocal left
            left -= 1
            if left < 0 or (left == 0 and not after):
                raise KilledError
            written = write(number, data)
            if left == 0:
                raise KilledError
            return written

        courier.session._write = counted  # type: ignore[method-assign]  # where the process ends
        running = asyncio.create_task(courier.run())
        with pytest.raises(KilledError):
            async with asyncio.timeout(15):
                await running
        if after:
            await asyncio.sleep(0.05)


@pytest.fixture
async def site(stack: EmbeddedStack, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(stack, tmp_path)
    await made.device.connect()
    yield made
    await made.device.disconnect()
    await made.table.store.stop()


async def finish(site: Site, asked: CommandRequest) -> None:
    """The next owner goes on to the end; the device has the command once."""
    site.open()
    await site.run_until(lambda: site.command(asked).delivery.name == "DONE")
    await site.device.wait_for(1)
    await asyncio.sleep(0.1)
    assert site.device.ids == [asked.command_id]
    assert [step.status for step in site.command(asked).steps] == ["REQUESTED", "PUBLISHED", "DELIVERED"]
    assert not work_of(site.partition).flows


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("packet", [1, 2], ids=["PUBLISH", "PUBREL"])
async def test_killed_at_a_packet_it_goes_on(site: Site, packet: int, after: bool) -> None:
    asked = site.ask("k1")
    await site.run_and_kill(packet, after=after)
    await finish(site, asked)


@pytest.mark.parametrize("commits", [1, 2, 3], ids=["PUBLISH", "PUBREC", "PUBCOMP"])
async def test_a_courier_that_has_lost_the_partition_ends_without_a_step_that_is_not_durable(site: Site, commits: int) -> None:
    asked = site.ask("k1")
    await site.partition.commit()
    site.open(FailingWriter(commits - 1))
    with pytest.raises(FencedError):
        async with asyncio.timeout(15):
            await site.courier().run()
    if commits == 1:
        await asyncio.sleep(0.2)
        assert site.device.ids == [], "nothing was sent"
    await finish(site, asked)


async def test_what_is_in_doubt_when_the_broker_has_lost_the_session_is_not_sent_again(site: Site) -> None:
    asked = site.ask("k1")
    await site.run_and_kill(1, after=False)
    site.open()
    # A session that begins anew is what a broker has that lost it.
    courier = site.courier()
    courier.session._clean_start = lambda: True
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(10):
        while site.command(asked).delivery.name != "UNKNOWN":
            await asyncio.sleep(0.01)
    later = site.ask("k2")
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert site.device.ids == [], "and the next one waits for its end"
    assert (site.command(asked).status, site.command(asked).executed, site.command(later).status) == ("PUBLISHED", "unknown", "REQUESTED")
    assert site.command(asked).steps[-1].detail == "delivery unknown: the MQTT broker has lost the session"


async def test_what_was_not_written_is_sent_also_when_the_session_is_lost(site: Site) -> None:
    """That is certain as long as the process lives."""
    asked = site.ask("k1")
    courier = site.courier()
    refuse = True
    write = courier.session._write
    courier.session._write = lambda number, data: not refuse and write(number, data)  # type: ignore[method-assign]  # a connection that is just gone
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(10):
        while site.command(asked).delivery.name != "PUBLISHING":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        refuse = False
        courier.session._clean_start = lambda: True
        connection = courier.session._connection
        assert connection is not None
        connection._writer.transport.abort()
        while site.command(asked).delivery.name != "DONE":
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await site.device.wait_for(1)
    assert site.device.ids == [asked.command_id]


async def test_commands_of_a_device_go_out_one_after_the_other_and_those_of_others_at_the_same_time(site: Site) -> None:
    first, second = site.ask("k1"), site.ask("k2")
    await site.run_until(lambda: site.command(first).status == "DELIVERED")
    assert site.command(second).status == "REQUESTED"
    assert site.device.ids == [first.command_id]


async def test_what_cannot_be_sent_in_time_expires_and_is_never_sent(site: Site) -> None:
    offset_ms = 0
    site.now_ms = lambda: time.time_ns() // 1_000_000 + offset_ms
    asked, next_ = site.ask("k1", 30), site.ask("k2", 600)
    offset_ms = 31_000
    await site.run_until(lambda: site.command(next_).status == "DELIVERED")
    assert (site.command(asked).status, site.command(asked).executed) == ("EXPIRED", "no")
    await asyncio.sleep(0.1)
    assert site.device.ids == [next_.command_id]


async def test_time_that_passes_during_a_commit_is_looked_at_before_sending(site: Site) -> None:
    offset_ms = 0
    site.now_ms = lambda: time.time_ns() // 1_000_000 + offset_ms
    asked = site.ask("k1", 30)
    commit = site.partition.commit

    async def slow_commit() -> None:
        nonlocal offset_ms
        await commit()
        if site.command(asked).status == "PUBLISHED":
            offset_ms = 60_000

    site.partition.commit = slow_commit  # type: ignore[method-assign]  # a Kafka that takes half a minute
    await site.run_until(lambda: site.command(asked).final)
    assert [step.status for step in site.command(asked).steps] == ["REQUESTED", "PUBLISHED", "REQUESTED", "EXPIRED"]
    assert site.command(asked).executed == "no"
    await asyncio.sleep(0.1)
    assert site.device.ids == []


@pytest.mark.parametrize("back_in_time", [True, False])
async def test_a_device_that_is_away_gets_a_command_when_it_is_back_before_its_expiry_and_never_after(
    site: Site, back_in_time: bool
) -> None:
    await site.device.disconnect()
    asked = site.ask("k1", 30 if back_in_time else 2.5)
    await site.run_until(lambda: site.command(asked).delivery.name == "DONE")
    await asyncio.sleep(0.2 if back_in_time else 3.0)
    await site.device.connect()
    await asyncio.sleep(0.5)
    assert site.device.ids == ([asked.command_id] if back_in_time else [])


async def test_what_the_broker_refuses_is_tried_again_after_a_pause(site: Site) -> None:
    """The broker of the tests refuses nothing, so its answer is put in here."""
    asked = site.ask("k1")
    courier = site.courier()
    write = courier.session._write
    sent_at_s: list[float] = []

    def refused_at_first(number: int, data: bytes) -> bool:
        sent_at_s.append(time.monotonic())
        if len(sent_at_s) > 1:
            return write(number, data)
        courier.session.answers.append(BrokerAnswer(site.command(asked).packet_id, AnswerKind.REFUSED, "QUOTA_EXCEEDED"))
        return True

    courier.session._write = refused_at_first  # type: ignore[method-assign]  # see above
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(15):
        while site.command(asked).delivery.name != "DONE":
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [step.status for step in site.command(asked).steps] == ["REQUESTED", "PUBLISHED", "REQUESTED", "PUBLISHED", "DELIVERED"]
    assert "QUOTA_EXCEEDED" in (site.command(asked).steps[2].detail or "")
    assert sent_at_s[1] - sent_at_s[0] >= 1.0
    await site.device.wait_for(1)
    assert site.device.ids == [asked.command_id]


async def test_a_copy_that_the_broker_refuses_leaves_a_doubt(site: Site) -> None:
    """It may have taken the first one."""
    asked = site.ask("k1")
    await site.run_and_kill(1, after=False)
    site.open()
    courier = site.courier()

    def refused(_: int, __: bytes) -> bool:
        courier.session.answers.append(BrokerAnswer(site.command(asked).packet_id, AnswerKind.REFUSED, "QUOTA_EXCEEDED"))
        return True

    courier.session._write = refused  # type: ignore[method-assign]  # the broker of the tests refuses nothing
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(15):
        while site.command(asked).delivery.name != "UNKNOWN":
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (site.command(asked).status, site.command(asked).executed) == ("PUBLISHED", "unknown")


async def test_many_devices_are_served_at_the_same_time(site: Site) -> None:
    """As many transactions as it takes one after the other would be some hundred."""
    devices = [
        CommandDevice(site.settings.mqtt_url.unicode_string(), f"sites/7/devices/{site.name}-{n}/commands", f"d-{site.name}-{n}")
        for n in range(5)
    ]
    for device in devices:
        await device.connect()
    asked = [site.ask(f"k{n}", serial=f"{site.name}-{n}") for n in range(100)]
    await site.run_until(lambda: all(site.command(each).status == "DELIVERED" for each in asked))
    writer = site.partition._writer
    assert isinstance(writer, FailingWriter)
    assert 10_000 - writer.left < 60
    for number, device in enumerate(devices):
        await device.wait_for(1)
        assert device.ids == [asked[number].command_id]
        await device.disconnect()
