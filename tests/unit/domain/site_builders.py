"""Parts of sites and the records that they are folded into, for the tests of sites."""

from dataclasses import dataclass, field

from ems_streams.domain import site_codec
from ems_streams.domain.aggregate_events import SitePart
from ems_streams.domain.energy import NO_ENERGY, Energy, EnergyQuality
from ems_streams.domain.samples import append
from ems_streams.domain.site_contents import SiteResult
from ems_streams.domain.site_membership import Joined, Left, locate
from ems_streams.domain.site_records import SiteRecord
from ems_streams.domain.site_windows import SiteFold, SitePolicy, tick
from ems_streams.domain.summary import Summary, summarize
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import Span, Window, span_of
from tests.unit.domain.builders import NOON_MS, identity, record

POLICY = SitePolicy()
SITE = 7


def summary(*values_kw: float, at_ms: int = NOON_MS, kwh: float | None = None, share: float = 1.0) -> Summary:
    """Of one message per value, a second apart."""
    samples, names = bytearray(), {}
    for number, value in enumerate(values_kw):
        append(samples, record(at_ms + number * 1000, {"powerKw": value}), identity(number), names)
    found = summarize(samples, tuple(names))
    found.energy = NO_ENERGY if kwh is None else Energy(kwh, EnergyQuality.MEASURED, share)
    return found


def part(
    serial: str,
    minute: int,
    content: Summary | None = None,
    *,
    revision: int = 1,
    window: Window = Window.MINUTE,
    site: int = SITE,
) -> SitePart:
    """Of the window that the so manieth minute after noon lies in."""
    at_ms = NOON_MS + minute * MINUTE_MS
    span = span_of(window, at_ms, None)
    return SitePart(site, serial, window, Span(span.start_ms, span.end_ms), revision, content or summary(float(minute), at_ms=at_ms))


class MemoryRecords:
    """Records that are kept as they are stored, so that after `forget` what was not put is not there."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self._read: dict[bytes, SiteRecord] = {}
        self._put: set[bytes] = set()

    def get(self, key: bytes) -> SiteRecord | None:
        if key not in self._read and key in self.stored:
            self._read[key] = site_codec.decode(self.stored[key])
        return self._read.get(key)

    def put(self, key: bytes, state: SiteRecord) -> None:
        self._read[key] = state
        self._put.add(key)

    def delete(self, key: bytes) -> None:
        self._read.pop(key, None)
        self._put.discard(key)
        self.stored.pop(key, None)

    def forget(self) -> None:
        self.stored |= {key: site_codec.encode(self._read[key]) for key in self._put}
        self._read.clear()
        self._put.clear()


@dataclass
class World:
    """Sites in one partition, fed by the batch; what they tell each other is taken in after the batch that gave it."""

    policy: SitePolicy = POLICY
    records: MemoryRecords = field(default_factory=MemoryRecords)
    published: list[tuple[int, SiteResult]] = field(default_factory=list)
    arrived_ms: int = 0

    def send(self, *events: SitePart | Joined | Left, arrived_ms: int | None = None) -> list[SiteResult]:
        """A batch, which arrives when the newest part could have been published."""
        for event in events:
            if isinstance(event, SitePart):
                self.arrived_ms = max(self.arrived_ms, event.span.end_ms + self.policy.windows.lateness_ms[event.window])
        sites: set[int] = set()
        told: list[Joined | Left] = []
        for event in events:
            if isinstance(event, Joined):
                left = locate(event, self.records)
                told += [] if left is None else [left]
                continue
            sites.add(event.site_id)
            site = SiteFold(event.site_id, self.records, self.policy)
            site.leave(event) if isinstance(event, Left) else site.take(event, arrived_ms or self.arrived_ms)
        results = [result for site_id in sorted(sites) for result in self._settle(site_id, told)]
        self.records.forget()
        return results + self.send(*told) if told else results

    def quiet(self, quiet_ms: int, site: int = SITE) -> list[SiteResult]:
        """Let so much time pass since the last part."""
        results = self._settle(site, []) if tick(site, self.arrived_ms + quiet_ms, self.records, self.policy) else []
        self.records.forget()
        return results

    def _settle(self, site: int, told: list[Joined | Left]) -> list[SiteResult]:
        settled = SiteFold(site, self.records, self.policy).settle()
        self.published += [(site, result) for result in settled.windows]
        told += settled.joined
        return settled.windows

    def last(self) -> dict[tuple[int, Window, int], tuple[Summary, int, int]]:
        """What the greatest revision of every window says, and of how many devices."""
        return {
            (site, each.result.window, each.result.span.start_ms): (each.result.summary, each.devices_reported, each.devices_total)
            for site, each in self.published
        }
