"""Of how many partitions a list over many workers is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ems_streams.domain.events import format_time


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the fleet answered in time.

    Attributes:
        as_of: When the workers were asked.
        partitions_total: Partitions there are.
        partitions_answered: How many of them the list is of; the rest is recovering, or its worker is away.
    """

    as_of: datetime
    partitions_total: int
    partitions_answered: int

    @property
    def complete(self) -> bool:
        """Whether no partition is missing."""
        return self.partitions_answered >= self.partitions_total

    def header(self) -> dict[str, Any]:
        """The members that every list over many workers carries."""
        return {
            "asOf": format_time(self.as_of),
            "partitionsTotal": self.partitions_total,
            "partitionsAnswered": self.partitions_answered,
        }
