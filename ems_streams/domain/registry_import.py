"""What an import of devices changes in the registry: pure comparison of a file with what is registered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ems_streams.domain.device_rows import BadRow, DeviceRow, Problem
from ems_streams.domain.registry import RegistryEntry


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that becomes another."""

    before: RegistryEntry
    after: RegistryEntry

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Value before and after, by the field's name in the registry."""
        before, after = (each.model_dump(mode="json", by_alias=True) for each in (self.before, self.after))
        return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


@dataclass(slots=True)
class RegistryImport:
    """What becomes of the rows of a file.

    Attributes:
        new: Devices that nobody knew.
        changed: Devices of which the file says something else.
        unchanged: Rows of devices that are registered just so; nothing is written of them.
        bad: Rows that are no device, in the order of the file.
        missing: Devices that are registered and not in the file.
    """

    new: list[RegistryEntry] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    unchanged: int = 0
    bad: list[BadRow] = field(default_factory=list)
    missing: list[RegistryEntry] = field(default_factory=list)

    @property
    def written(self) -> list[RegistryEntry]:
        """Entries that are to be written."""
        return [*self.new, *(each.after for each in self.changed)]

    @property
    def good(self) -> int:
        """Rows that are devices."""
        return len(self.new) + len(self.changed) + self.unchanged


def compare(rows: Iterable[DeviceRow | BadRow], known: Mapping[str, RegistryEntry]) -> RegistryImport:
    """What importing the rows would do.

    A serial number that comes again with something else, and a number of a device that belongs to another one, make their row a bad one.
    """
    found = RegistryImport()
    first: dict[str, DeviceRow] = {}
    for row in rows:
        if isinstance(row, BadRow):
            found.bad.append(row)
        elif (earlier := first.setdefault(row.entry.serial_number, row)) is row:
            continue
        elif earlier.entry == row.entry:
            found.unchanged += 1
        else:
            where = f"expected each device once: line {earlier.row.line} says something else of it"
            found.bad.append(BadRow(row.row, (Problem("serialNumber", repr(row.entry.serial_number), where),)))
    good = _without_taken_numbers(first, known, found.bad)
    for serial_number, row in good.items():
        before = known.get(serial_number)
        if before is None:
            found.new.append(row.entry)
        elif before == row.entry:
            found.unchanged += 1
        else:
            found.changed.append(Change(before, row.entry))
    found.bad.sort(key=lambda each: each.row.line)
    found.missing = [entry for serial_number, entry in sorted(known.items()) if serial_number not in first]
    return found


def _without_taken_numbers(first: Mapping[str, DeviceRow], known: Mapping[str, RegistryEntry], bad: list[BadRow]) -> dict[str, DeviceRow]:
    """Rows whose device gets no number that another one has; what is registered already may stay."""
    owners = {
        entry.device_id: f"the registered device {serial_number!r}" for serial_number, entry in known.items() if serial_number not in first
    }
    good = {}
    for serial_number, row in first.items():
        number = row.entry.device_id
        before = known.get(serial_number)
        if row.own_id and number in owners and (before is None or before.device_id != number):
            problem = Problem("deviceId", str(number), f"expected a number of its own: it is that of {owners[number]}")
            bad.append(BadRow(row.row, (problem,)))
            continue
        owners[number] = f"{serial_number!r} in line {row.row.line}"
        good[serial_number] = row
    return good
