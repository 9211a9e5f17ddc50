"""What a window of a site says: merged from the parts of its devices while it is open, as it was published afterwards."""

from dataclasses import dataclass

from ems_streams.domain import summary as summaries
from ems_streams.domain.device_windows import WindowResult
from ems_streams.domain.site_records import (
    Day,
    Member,
    Part,
    Records,
    Roster,
    Site,
    SiteWindow,
    WindowKey,
    day_key,
    find,
    member_key,
    part_key,
    roster_key,
    site_record_key,
    window_key,
)
from ems_streams.domain.summary import Summary, merge_parts
from ems_streams.domain.windows import Span, Window


@dataclass(frozen=True, slots=True)
class SiteResult:
    """What a window of a site says, and of how many devices; revision 0 while it is open."""

    result: WindowResult
    devices_reported: int
    devices_total: int

    @classmethod
    def of(cls, key: WindowKey, window: SiteWindow, content: Summary, revision: int, total: int) -> "SiteResult":
        """Of the record of the window, and of what it says."""
        result = WindowResult(key.window, Span(key.start_ms, window.end_ms), revision, content)
        return cls(result, window.devices.bit_count(), total)


def current_windows(site_id: int, records: Records, window: Window, *, limit: int, start_ms: int, end_ms: int) -> list[SiteResult] | None:
    """The newest windows of a kind, newest first, open ones with what they have so far; None when the site was never heard of.

    Args:
        site_id: Site.
        records: Of its partition; nothing of them is changed.
        window: The kind.
        limit: How many at the most.
        start_ms: Only such that begin then or later.
        end_ms: Only such that begin before.
    """
    site = find(records, Site, site_record_key(site_id))
    if site is None:
        return None
    roster = find(records, Roster, roster_key(site_id)) or Roster()
    found: list[SiteResult] = []
    for number in reversed(site.days):
        day = find(records, Day, day_key(site_id, number)) or Day()
        starts = (key for key in day.windows if key.window is window and start_ms <= key.start_ms < end_ms)
        for key in sorted(starts, reverse=True)[: limit - len(found)]:
            shown = find(records, SiteWindow, window_key(site_id, key))
            if shown is not None:
                found.append(_shown(site_id, key, shown, roster, records))
        if len(found) == limit:
            break
    return found


def _shown(site_id: int, key: WindowKey, window: SiteWindow, roster: Roster, records: Records) -> SiteResult:
    if window.revision:
        return SiteResult.of(key, window, summaries.decode(window.content), window.revision, window.devices_total)
    total = devices_total(window, members_of(site_id, roster, records))
    return SiteResult.of(key, window, merged(site_id, key, window, roster, records), 0, total)


def members_of(site_id: int, roster: Roster, records: Records) -> list[Member]:
    """Every device that the site ever had, by its number."""
    found = (find(records, Member, member_key(site_id, serial_number)) for serial_number in roster.serials)
    return [member for member in found if member is not None]


def devices_total(window: SiteWindow, members: list[Member]) -> int:
    # What has reported was there, whatever is said of it since.
    return sum(1 for each in members if window.devices >> each.number & 1 or each.belongs(window.end_ms))


def merged(site_id: int, key: WindowKey, window: SiteWindow, roster: Roster, records: Records) -> Summary:
    serials = sorted(roster.serials[number] for number in window.numbers())
    parts = [part for serial in serials if (part := find(records, Part, part_key(site_id, key, serial))) is not None]
    # For the energy a device is to its site what a quarter of an hour is to an hour: a part with a share of the whole.
    return merge_parts((summaries.decode(part.summary), 1 / len(parts)) for part in parts)
