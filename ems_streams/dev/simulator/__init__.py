"""A simulated fleet: plausible devices, faults on request, and a ledger of what really happened.

The physics and the faults are pure and deterministic (`fleet`, `faults`, `poison`); only `runner`, `ledger` and `display`
touch the world. The connection to the broker is handed in.
"""

from ems_streams.dev.simulator.fault_shares import FaultShares, parse_faults
from ems_streams.dev.simulator.faults import FaultPlan
from ems_streams.dev.simulator.fleet import FleetOptions, Reading, build_fleet, fleet_readings
from ems_streams.dev.simulator.ledger import LedgerError, LedgerWriter, Totals, read_ledger, totals
from ems_streams.dev.simulator.poison import POISON_KINDS, poison_messages
from ems_streams.dev.simulator.recording import RecordingError, check_recording, recorded_readings
from ems_streams.dev.simulator.runner import Publisher, Runner
from ems_streams.dev.simulator.summary import Progress, Summary

__all__ = [
    "POISON_KINDS",
    "FaultPlan",
    "FaultShares",
    "FleetOptions",
    "LedgerError",
    "LedgerWriter",
    "Progress",
    "Publisher",
    "Reading",
    "RecordingError",
    "Runner",
    "Summary",
    "Totals",
    "build_fleet",
    "check_recording",
    "fleet_readings",
    "parse_faults",
    "poison_messages",
    "read_ledger",
    "recorded_readings",
    "totals",
]
