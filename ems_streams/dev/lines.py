"""Displays for pipes and logs: plain lines, or one JSON object per line."""

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ems_streams.dev.board import TICK_S, Board, unit_json
from ems_streams.dev.places import shorten
from ems_streams.dev.units import Notice

_STATUS_EVERY_S = 10.0


class _Lines:
    def __init__(self, board: Board, stream: IO[str] | None = None) -> None:
        self.board = board
        self._stream = stream or sys.stdout
        self._ticks = 0
        self._last_step = ""

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def step(self, text: str) -> None:
        if text != self._last_step:
            self._last_step = text
            self._step(text)

    def tick(self) -> None:
        self._ticks += 1
        if self.board.up_at is not None and self._ticks % round(_STATUS_EVERY_S / TICK_S) == 0:
            self._status()

    def _step(self, text: str) -> None:
        raise NotImplementedError

    def _status(self) -> None:
        raise NotImplementedError

    def _write(self, line: str) -> None:
        # The reader may have gone (`| head`); the stack stays up until it is told to stop.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


class PlainLines(_Lines):
    """Lines for people who look at a log."""

    def __init__(self, board: Board, stream: IO[str] | None = None) -> None:
        super().__init__(board, stream)
        self._percent = -1

    def _step(self, text: str) -> None:
        self._write(text)

    def progress(self, done: int, total: int) -> None:
        if self._ticks * TICK_S < 1.0:
            # What is there already is only verified, and that is done before the first second is over.
            return
        percent = 100 * done // max(total, 1) // 20 * 20
        if percent > self._percent >= 0:
            self._write(f"  {done} of {total} files")
        self._percent = percent

    def notice(self, notice: Notice) -> None:
        self._write(f"{notice.at.astimezone():%H:%M:%S} {notice.unit} {notice.text}")

    def up(self) -> None:
        self._write(self.board.headline())
        for unit in self.board.units:
            self._write(f"  {unit.name:<12}{unit.state:<12}{'port ' + str(unit.port) if unit.port else '':<12}pid {unit.pid or '-'}")
        for server, address in self.board.plan.external.items():
            self._write(f"  {server:<12}{'external':<12}{address}")
        for what, where in self.board.places():
            self._write(f"  {what:<12}{where}")

    def failed(self, unit: str, reason: str, log_file: Path, lines: list[str]) -> None:
        self._write(f"{unit} {reason}; the end of {shorten(log_file)}:")
        for line in lines:
            self._write(f"    {line}")

    def _status(self) -> None:
        figures = self.board.figures()
        trouble = f", not ready: {', '.join(figures['notReady'])}" if figures["notReady"] else ""
        self._write(
            f"{datetime.now():%H:%M:%S} {figures['telemetryPerS'] or 0:g} events/s, {figures['telemetryTotal'] or 0} in all, "  # noqa: DTZ005 - people's own time
            f"{figures['transitions'] or 0} status changes, {figures['restarts']} restarts{trouble}"
        )


class JsonLines(_Lines):
    """Lines for machines: `{"event": "step" | "progress" | "notice" | "up" | "status" | "failed", "at": ..., ...}`."""

    def _step(self, text: str) -> None:
        self._event("step", text=text)

    def progress(self, done: int, total: int) -> None:
        self._event("progress", done=done, total=total)

    def notice(self, notice: Notice) -> None:
        self._event("notice", unit=notice.unit, kind=notice.kind, text=notice.text)

    def up(self) -> None:
        board = self.board
        self._event(
            "up",
            url=board.plan.dashboard_url,
            downloadS=round(board.download_s or 0.0, 2),
            startS=round(board.start_s or 0.0, 2),
            units=[unit_json(unit) for unit in board.units],
            external=dict(board.plan.external),
            places=dict(board.places()),
        )

    def failed(self, unit: str, reason: str, log_file: Path, lines: list[str]) -> None:
        self._event("failed", unit=unit, reason=reason, log=str(log_file), lines=lines)

    def _status(self) -> None:
        self._event("status", **self.board.figures())

    def _event(self, name: str, **values: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(json.dumps({"event": name, "at": at, **values}, default=str))
