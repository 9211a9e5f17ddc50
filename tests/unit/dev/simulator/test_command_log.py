"""The devices' own log: what is in it when a process is killed, and what the next one does with it."""

from pathlib import Path

import pytest

from ems_streams.dev.simulator import CommandLog, LedgerError, read_command_log
from ems_streams.dev.simulator.command_log import CommandLogError

AT_MS = 1_759_572_900_125


def receive(log: CommandLog, command_id: str, packet_id: int) -> None:
    log.write(
        "RECEIVED", AT_MS, serialNumber="A", commandId=command_id, command="REBOOT", session="s", packetId=packet_id,
        identity=command_id.encode().hex(), payload="{}", expiryS=None,
    )  # fmt: skip


def test_a_line_is_in_the_file_before_anything_follows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with CommandLog(path) as log:
        receive(log, "c-1", 1)
        [line] = read_command_log(path)
    assert line == {
        "event": "RECEIVED", "at": "2025-10-04T10:15:00.125Z", "serialNumber": "A", "commandId": "c-1", "command": "REBOOT", "session": "s",
        "packetId": 1, "identity": b"c-1".hex(), "payload": "{}",
    }  # fmt: skip


def test_the_next_run_adds_to_it_and_knows_what_was_left(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with CommandLog(path) as log:
        for number in range(1, 6):
            receive(log, f"c-{number}", number)
        log.write("RELEASED", AT_MS, session="s", packetId=1)
        log.write("RELEASED", AT_MS, session="other", packetId=2)
        log.write("EXECUTED", AT_MS, serialNumber="A", commandId="c-2", result="COMPLETED")
        log.write("REFUSED", AT_MS, serialNumber="A", commandId="c-3")
        log.write("EXPIRED", AT_MS, serialNumber="A", commandId="c-4")
    with CommandLog(path) as log:
        assert log.left.unreleased == {"s": {number: f"c-{number}".encode() for number in (2, 3, 4, 5)}}
        assert [line["commandId"] for line in log.left.unfinished] == ["c-1", "c-5"]
    assert len(list(read_command_log(path))) == 10


def test_a_command_received_twice_and_executed_once_is_left_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with CommandLog(path) as log:
        receive(log, "c-1", 1)
        receive(log, "c-1", 2)
        log.write("EXECUTED", AT_MS, serialNumber="A", commandId="c-1", result="COMPLETED")
    with CommandLog(path) as log:
        assert len(log.left.unfinished) == 1


def test_without_a_file_nothing_is_written() -> None:
    with CommandLog(None) as log:
        receive(log, "c-1", 1)
        assert log.left.unfinished == []


def test_a_file_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandLogError, match=f"command log {tmp_path} cannot be written"), CommandLog(tmp_path):
        pass
    (tmp_path / "log").write_text("no line\n")
    with pytest.raises(LedgerError, match="log:1"), CommandLog(tmp_path / "log"):
        pass
