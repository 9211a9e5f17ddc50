"""What an answer about the fleet must say, whatever is away: known from who publishes, not from who answers.

Every device is known by its serial number, and so is its partition. A list is right when it has all devices of as many partitions as it says, and none of
another; a device's answer is right when it is about that device and its count has not gone back, and a 503 or 504 only while a worker is away.
"""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.latency_load import SITES
from benchmarks.latency_stages import PARTITIONS
from ems_streams.kafka.partitioner import partition_for

MAY_BE_AWAY = frozenset({503, 504})


def serial_of(device: int) -> str:
    """As the load names it."""
    return f"INV-{device:05d}"


@dataclass
class Truth:
    """What is known, and what was found wrong, with an example of each kind.

    Attributes:
        devices: How many there are.
        all_there: Whether every partition must answer: not from the kill on until all are back.
        counts: Greatest count of messages that was seen of a device.
        wrong: How often which mistake was seen.
        slow: How often nobody answered in time although every partition was there, and the answer said so.
        examples: The first one of each.
    """

    devices: int
    all_there: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    slow: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._serials = [serial_of(device) for device in range(self.devices)]
        self._partitions = {serial: partition_for(serial.encode(), PARTITIONS) for serial in self._serials}

    def check(self, route: str, serial: str, status: int, body: Any) -> None:
        """An answer to a request of a route; `serial` is the device it was about."""
        if status != 200:
            if status not in MAY_BE_AWAY:
                self._note(f"{route}: {status}", str(body))
            elif self.all_there:
                self.slow[f"{route}: {status}"] = self.slow.get(f"{route}: {status}", 0) + 1
        elif route == "list":
            self._list(body)
        elif route == "device":
            expected = (serial, int(serial[-5:]) % SITES, "ONLINE")
            self._expect("device: another device", (body["serialNumber"], body["siteId"], body["status"]), expected)
        elif not body["liveAvailable"]:
            self._note("aggregates: from history, which there is none of", str(body))
        else:
            self._aggregates(serial, body)

    def _aggregates(self, serial: str, body: Any) -> None:
        self._expect("aggregates: another device", body["serialNumber"], serial)
        count = min(each["count"] for each in body["total"]["metrics"].values())
        if count < self.counts.get(serial, 0) and self.all_there:
            # A worker may have shown what it had not committed when it was killed; after that nothing may go back.
            self._note("aggregates: a count went back", f"{serial}: {self.counts[serial]} to {count}")
        self.counts[serial] = count

    def _list(self, body: Any) -> None:
        answered, listed = body["partitionsAnswered"], [each["serialNumber"] for each in body["devices"]]
        self._expect("list: partitionsTotal", body["partitionsTotal"], PARTITIONS)
        if self.all_there and answered < PARTITIONS:
            self.slow["list: says what is missing"] = self.slow.get("list: says what is missing", 0) + 1
        present = {self._partitions[serial] for serial in listed}
        expected = [serial for serial in self._serials if self._partitions[serial] in present][: len(listed)]
        self._expect("list: says other partitions than it has", len(present), answered)
        self._expect("list: not all devices of its partitions", listed, expected)

    def final_counts(self, found: dict[str, int], published: int) -> None:
        """Once all is folded: each device has had exactly what was published of it."""
        for serial, count in found.items():
            device = int(serial[-5:])
            self._expect("aggregates: not what was published", count, published // self.devices + (device < published % self.devices))

    def _expect(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self._note(what, f"{str(found)[:150]} instead of {str(expected)[:150]}")

    def _note(self, what: str, example: str) -> None:
        self.wrong[what] = self.wrong.get(what, 0) + 1
        self.examples.setdefault(what, example[:300])
