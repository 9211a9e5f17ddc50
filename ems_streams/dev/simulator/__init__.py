"""A simulated fleet: plausible devices, faults on request, and a ledger of what really happened.

The physics and the faults are pure and deterministic (`fleet`, `faults`, `poison`, `controls`, `command_faults`); only `runner`, `ledger`, `display`
and the commands (`commands`, `command_desk`, `command_log`) touch the world. The connections to the broker are handed in.
"""

from ems_streams.dev.simulator.command_faults import CommandFaults, parse_command_faults
from ems_streams.dev.simulator.command_log import CommandLog, read_command_log
from ems_streams.dev.simulator.commands import CommandOptions, Commands, World
from ems_streams.dev.simulator.fault_shares import FaultShares, parse_faults
from ems_streams.dev.simulator.faults import FaultPlan
from ems_streams.dev.simulator.fleet import FleetOptions, Reading, build_fleet, fleet_readings
from ems_streams.dev.simulator.ledger import LedgerError, LedgerWriter, Totals, read_ledger, totals
from ems_streams.dev.simulator.poison import POISON_KINDS, poison_messages
from ems_streams.dev.simulator.publications import Publication
from ems_streams.dev.simulator.recording import RecordingError, check_recording, recorded_readings
from ems_streams.dev.simulator.runner import Publisher, Runner
from ems_streams.dev.simulator.summary import Progress, Summary

__all__ = [
    "POISON_KINDS",
    "CommandFaults",
    "CommandLog",
    "CommandOptions",
    "Commands",
    "FaultPlan",
    "FaultShares",
    "FleetOptions",
    "LedgerError",
    "LedgerWriter",
    "Progress",
    "Publication",
    "Publisher",
    "Reading",
    "RecordingError",
    "Runner",
    "Summary",
    "Totals",
    "World",
    "build_fleet",
    "check_recording",
    "fleet_readings",
    "parse_command_faults",
    "parse_faults",
    "poison_messages",
    "read_command_log",
    "read_ledger",
    "recorded_readings",
    "totals",
]
