"""What is counted of commands: each step of a life, each end, and each exchange with the MQTT broker."""

from typing import Final

from ems_streams.domain.command_events import CommandEvent
from ems_streams.domain.command_table import FINAL, CommandStatus
from ems_streams.domain.commands import Command
from ems_streams.domain.timestamps import to_epoch_ms
from ems_streams.metrics import commands

OPEN_STATES: Final = tuple(status for status in CommandStatus if status not in FINAL)
_MS_PER_S: Final = 1000.0

# There from the start, at zero: the first one that is counted is seen.
for _outcome in (CommandStatus.REQUESTED, *FINAL):
    commands.COMMANDS.labels(_outcome.lower())
for _status in CommandStatus:
    commands.STEP_SECONDS.labels(_status.lower())
    if _status in FINAL:
        commands.SECONDS.labels(_status.lower())
for _outcome_of_delivery in ("taken", "refused", "unknown"):
    commands.DELIVERIES.labels(_outcome_of_delivery)


def count_step(command: Command, event: CommandEvent) -> None:
    """A command has taken a step, which is among its `steps` already; one that changes no status, such as a remark, counts for nothing."""
    name = event.status.lower()
    if event.previous_status is None:
        commands.COMMANDS.labels(name).inc()
        return
    if event.status is event.previous_status:
        return
    at_ms = to_epoch_ms(event.timestamp)
    before_ms = max((step.at_ms for step in command.steps if step.sequence < event.sequence), default=at_ms)
    # The clocks of whoever asked, of the worker and of the ingress that took the answer need not agree to the millisecond.
    commands.STEP_SECONDS.labels(name).observe(max(0, at_ms - before_ms) / _MS_PER_S)
    if event.status in FINAL:
        commands.COMMANDS.labels(name).inc()
        commands.SECONDS.labels(name).observe(max(0, at_ms - to_epoch_ms(command.request.requested_at)) / _MS_PER_S)


def count_delivery(outcome: str) -> None:
    """An exchange with the broker has ended."""
    commands.DELIVERIES.labels(outcome).inc()
