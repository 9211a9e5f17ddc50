"""Forgetting the windows of a site that no part can correct any more.

A device corrects its windows up to the correction horizon behind its own watermark; nothing of a window can come when the watermark of the
site is that horizon and the longest window further than its end. What comes all the same, from a device that was away for longer, is dropped
and counted (`Site.late_parts`): the window would begin anew without all that was said of it.
"""

from ems_streams.domain.site_records import Day, Records, Roster, Site, SiteWindow, WindowKey, day_key, day_of, find, part_key, window_key


def forget_windows(site_id: int, site: Site, roster: Roster, records: Records, limit_ms: int) -> None:
    """Delete every window that ends by a time, with its parts; the caller keeps the site's own record."""
    site.forgotten_ms = limit_ms
    for number in [each for each in site.days if each <= day_of(limit_ms)]:
        where = day_key(site_id, number)
        day = find(records, Day, where) or Day()
        day.windows -= {key for key in day.windows if _forget_window(site_id, key, roster, records, limit_ms)}
        if day.windows:
            records.put(where, day)
        else:
            records.delete(where)
            site.days.remove(number)


def _forget_window(site_id: int, key: WindowKey, roster: Roster, records: Records, limit_ms: int) -> bool:
    where = window_key(site_id, key)
    window = find(records, SiteWindow, where)
    if window is None or window.end_ms > limit_ms:
        return window is None
    for number in window.numbers():
        records.delete(part_key(site_id, key, roster.serials[number]))
    records.delete(where)
    return True
