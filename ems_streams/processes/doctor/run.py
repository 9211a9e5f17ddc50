"""All checks of doctor, run at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from ems_streams import __version__
from ems_streams.errors import SettingError, UsageError
from ems_streams.ops.doctor.checks import Check, Outcome, Report, Result, examine
from ems_streams.ops.doctor.findings import Finding
from ems_streams.ops.doctor.kinds import Severity
from ems_streams.ops.doctor.setting_findings import invalid_settings
from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.groups import check_notifier, check_sink, check_workers
from ems_streams.processes.doctor.heartbeats import check_ingress
from ems_streams.processes.doctor.host import check_disk, check_settings, check_state
from ems_streams.processes.doctor.kafka import check_kafka, check_rights, check_topics
from ems_streams.processes.doctor.kafka_security import check_acls, check_kafka_tls
from ems_streams.processes.doctor.mqtt import check_mqtt, check_tls
from ems_streams.processes.doctor.postgres import check_postgres, check_schema
from ems_streams.processes.doctor.services import check_processes, check_workers_http
from ems_streams.settings import Settings

CHECKS: Final[tuple[Check[Context], ...]] = (
    Check("settings", check_settings),
    # Each of several brokers that hang takes a while.
    Check("kafka", check_kafka, timeout_s=40.0),
    Check("kafka-tls", check_kafka_tls),
    Check("mqtt", check_mqtt),
    Check("tls", check_tls),
    Check("postgres", check_postgres),
    Check("schema", check_schema, needs=("postgres",)),
    Check("topics", check_topics, needs=("kafka",), timeout_s=40.0),
    Check("rights", check_rights, needs=("kafka", "topics")),
    Check("acls", check_acls, needs=("kafka",)),
    Check("ingress", check_ingress, needs=("kafka", "topics")),
    Check("workers", check_workers, needs=("kafka", "topics")),
    Check("workers-http", check_workers_http, needs=("kafka",)),
    Check("sink", check_sink, needs=("kafka", "topics")),
    Check("notifier", check_notifier, needs=("kafka", "topics")),
    Check("processes", check_processes),
    Check("disk", check_disk),
    Check("state", check_state, needs=("kafka",)),
)
_SERVERS: Final = ("kafka", "mqtt", "postgres")
_ORDER: Final = {severity: number for number, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What all checks have found."""

    results: list[Result]

    @property
    def findings(self) -> list[Finding]:
        """The worst ones first."""
        return sorted((each for result in self.results for each in result.report.findings), key=lambda each: _ORDER[each.severity])

    @property
    def exit_code(self) -> int:
        """0 when nothing has to be done, 1 when something has, 3 when no server was reached."""
        servers = [result for result in self.results if result.name in _SERVERS and result.outcome is not Outcome.SKIPPED]
        if servers and not any(result.report.usable for result in servers):
            return 3
        return int(any(each.severity is not Severity.INFO for each in self.findings))

    def view(self) -> dict[str, Any]:
        """As JSON."""
        counts = {severity.lower(): sum(each.severity is severity for each in self.findings) for severity in Severity}
        return {
            "ok": self.exit_code == 0,
            "version": __version__,
            "counts": {**counts, "skipped": sum(result.outcome is Outcome.SKIPPED for result in self.results)},
            "findings": [each.view() for each in self.findings],
            "checks": [result.view() for result in self.results],
        }


def wrong_settings(problems: list[SettingError]) -> Diagnosis:
    """When the settings cannot be, that is all that can be said: where nothing is known, nothing can be asked."""
    found = Result("settings", Outcome.FOUND, Report(invalid_settings(problems)), 0.0)
    return Diagnosis([found, *(Result(each.name, Outcome.SKIPPED, Report(usable=False), 0.0, "needs settings") for each in CHECKS[1:])])


def selected(names: Sequence[str]) -> tuple[Check[Context], ...]:
    """The checks of these names with all that they need, all checks when none is named; raises `UsageError`."""
    known = {check.name: check for check in CHECKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--only {unknown[0]!r}: expected one of {', '.join(known)}")
    wanted = set(names or known)
    for check in reversed(CHECKS):
        if check.name in wanted:
            wanted.update(check.needs)
    return tuple(check for check in CHECKS if check.name in wanted)


async def diagnose(settings: Settings, only: Sequence[str] = (), **others: Any) -> Diagnosis:
    """Run the checks; `others` are attributes of the context, such as another clock."""
    checks = selected(only)
    async with aiohttp.ClientSession() as session:
        context = replace(Context(settings, session), **others)
        return Diagnosis(await examine(checks, context))
