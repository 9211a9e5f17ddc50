"""The windows of a site, merged from those of its devices.

A window of a site says what the last revision of each device's part says, merged in the order of serial numbers: it depends on the set of
the parts, and neither on their order and repetition nor on how they are cut into batches. Nothing is ever subtracted, and nothing averaged
but shares of time: energy is the sum over the devices that have one, its source the worst of theirs, and the covered share the mean over
all devices that reported.

A window closes with revision 1 when every device that had part in the few windows before it has reported, or when the foremost device of
the site is `SitePolicy.lateness_ms` further than it needed to be to close its own. Whatever changes what it says gives a next revision.

`devices_total` are the devices that the site had when the window ended, by what its parts ever said: from the end of the first window that
a device had part in, and to that of the last one if it was heard of at another site since (`site_membership`). The registry is not asked. It knows devices that never spoke,
but lives in the partitions of their serial numbers, and what it said at some moment could not be told again by a replay.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

from ems_streams.domain import summary as summaries
from ems_streams.domain.aggregate_events import SitePart
from ems_streams.domain.site_contents import SiteResult, devices_total, members_of, merged
from ems_streams.domain.site_membership import Joined, Left
from ems_streams.domain.site_records import (
    SITES_KEY,
    Day,
    Member,
    Part,
    Records,
    Roster,
    Site,
    Sites,
    SiteWindow,
    WindowKey,
    day_key,
    day_of,
    find,
    member_key,
    part_key,
    roster_key,
    site_record_key,
    window_key,
)
from ems_streams.domain.site_retention import forget_windows
from ems_streams.domain.windows import LONGEST_MS, QUARTER_MS, Window, WindowPolicy

EXPECTED_WINDOWS: Final = 3
"""A device that had part in one of so many windows before is waited for; so is one that speaks in every other minute only."""


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """When the windows of sites close.

    Attributes:
        windows: Of the devices.
        lateness_ms: How much further than a device needs to be to close a window its site waits for the other devices.
    """

    windows: WindowPolicy = field(default_factory=WindowPolicy)
    lateness_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be published of a site.

    Attributes:
        windows: That closed or say something else than before, each once, in the order of their ends.
        joined: Devices that are new, back, or not gone; for the partitions of these, so that the site that they were at hears of it.
    """

    windows: list[SiteResult]
    joined: list[Joined]


class SiteFold:
    """One site: takes in what is said of it, in any number of batches, and tells once per commit what comes of it (`settle`)."""

    def __init__(self, site_id: int, records: Records, policy: SitePolicy) -> None:
        self.site_id = site_id
        self._records = records
        self._policy = policy
        self._site = find(records, Site, site_record_key(site_id)) or self._begin()
        self._roster = find(records, Roster, roster_key(site_id)) or Roster()
        # What is remembered until `settle` is in memory only, and so must the record be until then.
        records.put(site_record_key(site_id), self._site)

    def _begin(self) -> Site:
        sites = find(self._records, Sites, SITES_KEY) or Sites()
        sites.ids.append(self.site_id)
        self._records.put(SITES_KEY, sites)
        return Site()

    # -- taking in --

    def take(self, part: SitePart, arrived_ms: int) -> None:
        """Take a part in; nothing happens when it is known already, or of a window that was forgotten.

        Args:
            part: Of this site.
            arrived_ms: Kafka timestamp of its record.
        """
        site, key, end_ms = self._site, WindowKey(part.window, part.span.start_ms), part.span.end_ms
        if end_ms <= site.watermark_ms - self._policy.windows.kept_ms:
            site.late_parts += 1
            return
        where = part_key(self.site_id, key, part.serial_number)
        known = find(self._records, Part, where)
        if known is not None and known.revision >= part.revision:
            return
        self._records.put(where, Part(part.revision, summaries.encode(part.summary)))
        member = self._heard(part.serial_number, part.window, end_ms)
        window = find(self._records, SiteWindow, window_key(self.site_id, key)) or self._open(key, end_ms)
        window.devices |= 1 << member.number
        self._records.put(window_key(self.site_id, key), window)
        site.touched.add(key)
        # A device whose clock runs ahead must not close the windows of all others: no further than when its part arrived.
        reached_ms = min(end_ms + self._policy.windows.lateness_ms[part.window], arrived_ms)
        site.newest_ms = max(site.newest_ms, reached_ms)
        site.watermark_ms = max(site.watermark_ms, site.newest_ms)
        site.arrived_ms = max(site.arrived_ms, arrived_ms)

    def _open(self, key: WindowKey, end_ms: int) -> SiteWindow:
        site, number = self._site, day_of(key.start_ms)
        site.open[key] = end_ms
        where = day_key(self.site_id, number)
        day = find(self._records, Day, where)
        if day is None:
            day = Day()
            site.days = sorted({*site.days, number})
        day.windows.add(key)
        self._records.put(where, day)
        return SiteWindow(end_ms)

    def _heard(self, serial_number: str, window: Window, end_ms: int) -> Member:
        where = member_key(self.site_id, serial_number)
        member = find(self._records, Member, where)
        is_new = member is None
        member = member or self._enter(serial_number, end_ms)
        was_gone, newest_ms = member.is_gone, member.newest_ms
        member.ends_ms[window] = max(member.ends_ms[window], end_ms)
        if end_ms < member.since_ms:
            member.since_ms = end_ms
            self._others_change(end_ms)
        if was_gone and end_ms > newest_ms:
            self._others_change(newest_ms)
        if is_new or (was_gone and not member.is_gone):
            self._site.heard[serial_number] = end_ms
        self._records.put(where, member)
        return member

    def _enter(self, serial_number: str, end_ms: int) -> Member:
        self._roster.serials.append(serial_number)
        self._records.put(roster_key(self.site_id), self._roster)
        self._others_change(end_ms)
        return Member(len(self._roster.serials) - 1, end_ms)

    def leave(self, left: Left) -> None:
        """A device of this site is at another one, unless it was heard of here later than that: then the other one has to know."""
        where = member_key(self.site_id, left.serial_number)
        member = find(self._records, Member, where)
        if member is None or left.left_ms <= member.left_ms:
            return
        member.left_ms = left.left_ms
        self._records.put(where, member)
        if member.is_gone:
            self._others_change(member.newest_ms)
        else:
            self._site.heard[left.serial_number] = member.newest_ms

    def _others_change(self, from_ms: int) -> None:
        """Windows that end from a time on have another number of devices now, whether these said something in them or not."""
        known_ms = self._site.others_from_ms
        self._site.others_from_ms = from_ms if known_ms is None else min(known_ms, from_ms)

    # -- closing and correcting --

    def settle(self) -> Settled:
        """Close and correct windows, and forget those that nothing can correct any more."""
        site = self._site
        members = members_of(self.site_id, self._roster, self._records)
        due = {key for key in site.touched if key not in site.open} | set(self._published_from(site.others_from_ms))
        # In the order of their ends: that one has closed says for the next one that the site is no new one.
        for key, end_ms in sorted(site.open.items(), key=itemgetter(1)):
            if self._closes(key, end_ms, members):
                del site.open[key]
                site.closed_ms[key.window] = max(site.closed_ms[key.window], end_ms)
                due.add(key)
        windows = [result for key in due if (result := self._publish(key, members)) is not None]
        windows.sort(key=lambda each: (each.result.span.end_ms, each.result.window))
        joined = [Joined(serial_number, self.site_id, at_ms) for serial_number, at_ms in site.heard.items()]
        site.touched, site.others_from_ms, site.heard = set(), None, {}
        self._forget()
        self._records.put(site_record_key(self.site_id), site)
        return Settled(windows, joined)

    def _closes(self, key: WindowKey, end_ms: int, members: list[Member]) -> bool:
        if _is_overdue(self._site.watermark_ms, key.window, end_ms, self._policy):
            return True
        expected_ms = key.start_ms - EXPECTED_WINDOWS * (end_ms - key.start_ms)
        # A site that is new, or was silent, is given the time to tell who is there.
        if key not in self._site.touched or self._site.closed_ms[key.window] <= expected_ms:
            return False
        return not any(expected_ms < each.ends_ms[key.window] <= key.start_ms and not each.is_gone for each in members)

    def _published_from(self, from_ms: int | None) -> Iterator[WindowKey]:
        if from_ms is None:
            return
        for number in self._site.days:
            if number < day_of(from_ms - LONGEST_MS):
                continue
            day = find(self._records, Day, day_key(self.site_id, number)) or Day()
            for key in day.windows:
                window = find(self._records, SiteWindow, window_key(self.site_id, key)) if key not in self._site.open else None
                if window is not None and window.end_ms >= from_ms:
                    yield key

    def _publish(self, key: WindowKey, members: list[Member]) -> SiteResult | None:
        window = find(self._records, SiteWindow, window_key(self.site_id, key))
        if window is None:
            return None
        content = merged(self.site_id, key, window, self._roster, self._records)
        says = SiteResult.of(key, window, content, window.revision + 1, devices_total(window, members))
        if not window.say(summaries.encode(content), says.devices_reported, says.devices_total):
            return None
        self._records.put(window_key(self.site_id, key), window)
        return says

    def _forget(self) -> None:
        """Give up the windows that no part can correct any more, once in a quarter of an hour of event time."""
        limit_ms = self._site.watermark_ms - self._policy.windows.kept_ms
        if limit_ms >= self._site.forgotten_ms + QUARTER_MS:
            forget_windows(self.site_id, self._site, self._roster, self._records, limit_ms)


def tick(site_id: int, now_ms: int, records: Records, policy: SitePolicy) -> bool:
    """Move the watermark of a site that has gone quiet on, as far as time has gone on since its last part; true when windows close by it.

    As for devices, how long it has been quiet is told by when parts arrived. `SiteFold.settle` then gives the windows.
    """
    site = find(records, Site, site_record_key(site_id))
    if site is None or not site.open:
        return False
    quiet_ms = now_ms - site.arrived_ms
    watermark_ms = site.newest_ms + quiet_ms
    if quiet_ms < policy.windows.quiet_ms or watermark_ms <= site.watermark_ms:
        return False
    if not any(_is_overdue(watermark_ms, key.window, end_ms, policy) for key, end_ms in site.open.items()):
        return False
    site.watermark_ms = watermark_ms
    records.put(site_record_key(site_id), site)
    return True


def site_ids(records: Records) -> list[int]:
    """The sites of a partition."""
    return (find(records, Sites, SITES_KEY) or Sites()).ids


def _is_overdue(watermark_ms: int, window: Window, end_ms: int, policy: SitePolicy) -> bool:
    return watermark_ms >= end_ms + policy.windows.lateness_ms[window] + policy.lateness_ms
