"""Each dependency killed in turn: what every process says at each of its endpoints, second by second."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import pytest

from tests.chaos.everything import EVERYBODY, everything
from tests.chaos.faults import ServerKill
from tests.chaos.harness import System
from tests.chaos.results import Finding, verdict
from tests.support.notifier import notify
from tests.support.processes import get
from tests.support.receivers import Webhook

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

ENDPOINTS = ("livez", "readyz", "startupz")
DEPENDENTS = {"kafka": set(EVERYBODY), "mqtt": {"ingress-0"}, "postgres": {"sink-0"}}
SHOWN = {
    "kafka": {"gateway": "commands"},
    "mqtt": {"worker-0": "commands_mqtt", "worker-1": "commands_mqtt"},
    "postgres": {"gateway": "postgres"},
}
"""What is away as well, without anybody being unready for it."""
AWAY_S = 15.0
RED_WITHIN_S = 10.0
READY_WITHIN_S = 60.0
TABLES = Path(".ems-chaos/health.md")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said: its status, 0 for no answer, and the checks that were not good, with how long they had been so.

    Those that are shown only, and fail nothing, are in `noted`.
    """

    status: int
    failing: dict[str, float] = field(default_factory=dict)
    noted: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str) -> Self:
        status, body = get(url, timeout_s=0.9)
        checks: dict[str, Any] = body["checks"] if body else {}
        bad = {name: each for name, each in checks.items() if not each["ok"]}
        failing = {name: each["forS"] for name, each in bad.items() if each.get("required", True)}
        return cls(status, failing, tuple(bad.keys() - failing.keys()))


Row = dict[str, tuple[Answer, Answer, Answer]]


class Timeline:
    """Asks everybody once a second, for as long as the context lasts; seconds count from `zero_s`."""

    def __init__(self, system: System, zero_s: float) -> None:
        self.zero_s = zero_s
        self._urls = {name: system[name].url for name in EVERYBODY}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample_for_ever)
        self.rows: list[tuple[int, Row]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _sample_for_ever(self) -> None:
        with ThreadPoolExecutor(len(EVERYBODY) * len(ENDPOINTS)) as pool:
            while not self._ending.is_set():
                began_s = time.monotonic()
                asked = {name: [pool.submit(Answer.of, f"{url}/{each}") for each in ENDPOINTS] for name, url in self._urls.items()}
                row: Row = {name: (one.result(), two.result(), three.result()) for name, (one, two, three) in asked.items()}
                self.rows.append((round(began_s - self.zero_s), row))
                self._ending.wait(max(0.0, 1.0 - (time.monotonic() - began_s)))


def words(answers: tuple[Answer, Answer, Answer]) -> str:
    """A cell: what is not well, in words."""
    if not any(each.status for each in answers):
        return "no answer"
    parts = []
    for endpoint, answer in zip(ENDPOINTS, answers, strict=True):
        if answer.status == 0:
            parts.append(f"{endpoint} no answer")
        elif answer.status != 200:
            parts.append(f"{endpoint} {answer.status}: {', '.join(answer.failing)}")
    noted = [name for each in answers for name in each.noted]
    return ("; ".join(parts) or "ok") + (f" (shown: {', '.join(noted)})" if noted else "")


def table(title: str, rows: list[tuple[int, Row]], names: tuple[str, ...] = EVERYBODY) -> list[str]:
    """Markdown; seconds in which nobody says anything else are one row."""
    lines = [f"### {title}", "", f"| second | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
    for cells, group in groupby(rows, key=lambda each: tuple(words(each[1][name]) for name in names)):
        seconds = [second for second, _ in group]
        span = str(seconds[0]) if len(seconds) == 1 else f"{seconds[0]} to {seconds[-1]}"
        lines.append(f"| {span} | {' | '.join(cells)} |")
    return [*lines, ""]


def longest(rows: list[tuple[int, Row]]) -> str:
    """What each process said at the end of an outage of how long each check had been red."""
    told = {name: row[name][1].failing for _, row in rows for name in EVERYBODY if row[name][1].failing}
    return "; ".join(f"{name}: {', '.join(f'{check} {for_s:.0f} s' for check, for_s in checks.items())}" for name, checks in told.items())


def judge(dependency: str, rows: list[tuple[int, Row]], ends: list[str]) -> Finding:
    """Whether readiness said so in time, of those that depend on it and of nobody else, and liveness never."""
    during = [(second, row) for second, row in rows if second > 0]
    not_live = [f"{name} at {second}" for second, row in during for name in EVERYBODY if row[name][0].status == 503]
    not_started = [f"{name} at {second}" for second, row in during for name in EVERYBODY if row[name][2].status == 503]
    red = {name: next((second for second, row in during if row[name][1].status == 503), None) for name in EVERYBODY}
    late = sorted(name for name in DEPENDENTS[dependency] if (red[name] or RED_WITHIN_S + 1) > RED_WITHIN_S)
    others = sorted(name for name, second in red.items() if second is not None and name not in DEPENDENTS[dependency])
    unnamed = sorted(
        name for name in DEPENDENTS[dependency] if not any(dependency in row[name][1].failing for second, row in during if second <= AWAY_S)
    )
    unshown = sorted(
        f"{check} of {name}"
        for name, check in SHOWN[dependency].items()
        if not any(check in row[name][1].noted for second, row in during if second <= AWAY_S)
    )
    found = {
        "not shown": unshown,
        "livez red": not_live,
        "startupz red": not_started,
        "ended": ends,
        "late": late,
        "without need": others,
        "not named": unnamed,
    }
    return Finding(
        expected={f"{dependency}: {what}": [] for what in found},
        found={f"{dependency}: {what}": each for what, each in found.items()},
        measured=f"{dependency} red after {', '.join(f'{name} {second} s' for name, second in red.items() if second is not None)}",
    )


def killed(system: System, kill: Callable[[], None], restore: Callable[[], None]) -> tuple[list[tuple[int, Row]], bool]:
    """Three seconds before, the outage, and the time until all are ready again, with three seconds more; whether that came in time."""
    with Timeline(system, time.monotonic() + 3.0) as timeline:
        system.run_for(3.0)
        kill()
        system.run_for(max(0.0, timeline.zero_s + AWAY_S - time.monotonic()))
        restore()
        ready = not system.wait_ready(READY_WITHIN_S)
        system.run_for(3.0)
    return timeline.rows, ready


def test_health_timeline(system: System, tmp_path: Path) -> None:
    stack = system.deployment.stack
    lines: list[str] = []
    finding = Finding({}, {})
    with everything(system, tmp_path) as receiver:
        for dependency, server in (("kafka", stack.kafka), ("mqtt", stack.mqtt), ("postgres", stack.postgres)):
            system.run_for(5.0)
            outage, known = ServerKill(system, server), len(system.ends)
            rows, ready = killed(system, outage.down, outage.up)
            lines += table(f"{dependency}: killed at 0, started again at {AWAY_S:.0f}", rows)
            lines += [f"`forS` at the end of it: {longest([each for each in rows if each[0] <= AWAY_S])}.", ""]
            finding += judge(dependency, rows, system.ends[known:])
            finding += Finding({f"{dependency}: ready again": True}, {f"{dependency}: ready again": ready})
        system.run_for(5.0)
        rows, ready = killed(system, lambda: system.forget("worker-1").kill(), lambda: system.add_worker(1))
        lines += table(f"worker-1: killed at 0, started again at {AWAY_S:.0f}", rows)
        finding += judge_worker(rows) + Finding({"worker: ready again": True}, {"worker: ready again": ready})
        system.run_for(5.0)
        rows, _ = killed(system, lambda: refuse(system, receiver), receiver.start)
        lines += table(f"receiver of the channel `ops`: away from 0, back at {AWAY_S:.0f}", rows)
        finding += judge_receiver(rows)
    TABLES.parent.mkdir(exist_ok=True)
    TABLES.write_text("\n".join(lines))
    print("\n".join(lines), flush=True)
    verdict("health", finding, load="200 messages/s of 50 devices", faults="Kafka, MQTT, PostgreSQL and a worker killed in turn")


def refuse(system: System, receiver: Webhook) -> None:
    """Nobody takes messages any more, and there are some."""
    receiver.stop()
    notify(system.deployment, (f"timeline-{number}" for number in range(20)))


def judge_receiver(rows: list[tuple[int, Row]]) -> Finding:
    """It is shown by the notifier, and fails nothing of anybody."""
    red = sorted({f"{name} {ENDPOINTS[at]}" for _, row in rows for name in EVERYBODY for at in range(3) if row[name][at].status != 200})
    shown = any("breaker" in row["notifier-0"][1].noted for second, row in rows if 0 < second <= AWAY_S)
    return Finding({"receiver: red": [], "receiver: shown": True}, {"receiver: red": red, "receiver: shown": shown})


def judge_worker(rows: list[tuple[int, Row]]) -> Finding:
    """The others stay alive; those that need no particular worker stay ready; the other worker takes over."""
    during = [(second, row) for second, row in rows if second > 0]
    others = [name for name in EVERYBODY if name != "worker-1"]
    not_live = [f"{name} at {second}" for second, row in during for name in others if row[name][0].status != 200]
    uninvolved = ("ingress-0", "sink-0", "notifier-0", "gateway")
    red = sorted({name for _, row in during for name in uninvolved if row[name][1].status != 200})
    taken_over = [second for second, row in during if row["worker-0"][1].status == 200 and second >= RED_WITHIN_S]
    return Finding(
        expected={"worker: others not live": [], "worker: red without need": [], "worker: taken over before it is back": True},
        found={
            "worker: others not live": not_live,
            "worker: red without need": red,
            "worker: taken over before it is back": bool(taken_over) and taken_over[0] <= AWAY_S,
        },
    )
