"""What the commands of `ems-streams replay` print."""

from typing import TYPE_CHECKING, Any

from ems_streams.cli.output import error_console, print_json, print_table

if TYPE_CHECKING:
    from ems_streams.replay.diff import Diff
    from ems_streams.replay.promote import Promoted
    from ems_streams.replay.registry import Replay


def show(replays: "list[Replay]", json: bool, *, single: bool = False) -> None:
    """Print replays, as a table or as JSON; `single` is of one that was asked for by its name."""
    if json:
        found = [_as_json(each) for each in replays]
        print_json(found[0] if single else found)
        return
    rows = [
        (
            each.definition.name,
            each.state,
            f"{each.definition.from_time:%Y-%m-%dT%H:%M:%SZ}",
            f"{each.definition.to_time:%Y-%m-%dT%H:%M:%SZ}",
            f"{each.read}/{each.definition.events_total}",
            each.windows,
            each.put_aside,
            " ".join(f"{topic}={count}" for topic, count in each.suppressed.items()),
        )
        for each in replays
    ]
    print_table(
        ("NAME", "STATE", "FROM", "TO", "READ", "WINDOWS", "PUT ASIDE", "KEPT TO ITSELF"), rows, right=("READ", "WINDOWS", "PUT ASIDE")
    )
    if single:
        from ems_streams.domain.replays import edges

        error_console().print(edges(replays[0].definition), markup=False)


def _as_json(replay: "Replay") -> dict[str, Any]:
    return {
        **replay.definition.model_dump(mode="json", by_alias=True),
        "state": replay.state,
        "eventsRead": replay.read,
        "eventsTotal": replay.definition.events_total,
        "windows": replay.windows,
        "putAside": replay.put_aside,
        "keptToItself": replay.suppressed,
    }


def print_diff(replay: "Replay", found: "Diff", limit: int) -> None:
    """Print how many windows say the same, and the first `limit` of those that do not."""
    from ems_streams.domain.replays import edges
    from ems_streams.domain.window_diff import Verdict
    from ems_streams.domain.windows import LABELS

    rows = [(kind, *(found.counts[kind, verdict] for verdict in Verdict), found.partly_covered[kind]) for kind in LABELS]
    columns = ("WINDOW", *(verdict.upper() for verdict in Verdict), "PARTLY COVERED")
    print_table(columns, [row for row in rows if any(row[1:])], right=columns[1:])
    if found.findings:
        listed = found.findings[:limit]
        print_table(
            ("DEVICE", "WINDOW", "START", "WHAT", "FIELDS"),
            [(each.key.serial_number, each.key.window, each.key.start, each.verdict, " ".join(each.fields)) for each in listed],
        )
        if len(found.findings) > limit:
            error_console().print(f"... and {len(found.findings) - limit} more; --limit or --json shows them", markup=False)
    said = f"not the same: {len(found.findings)} windows" if found.findings else "identical" if found.identical else "nothing was compared"
    error_console().print(said, markup=False)
    if found.unreadable:
        error_console().print(f"{found.unreadable} records that are no windows were passed over", markup=False)
    error_console().print(edges(replay.definition), markup=False)


def diff_json(replay: "Replay", found: "Diff") -> dict[str, Any]:
    """All that was found, as `--json` prints it."""
    from ems_streams.domain.window_diff import RELATIVE_TOLERANCE, Verdict

    return {
        "name": replay.definition.name,
        "identical": found.identical,
        "relativeTolerance": RELATIVE_TOLERANCE,
        "counts": {verdict: found.total(verdict) for verdict in Verdict},
        "windows": [{"window": kind, "verdict": verdict, "count": count} for (kind, verdict), count in sorted(found.counts.items())],
        "partlyCovered": dict(found.partly_covered),
        "unreadable": found.unreadable,
        "findings": [
            {
                "serialNumber": each.key.serial_number,
                "window": each.key.window,
                "windowStart": each.key.start,
                "verdict": each.verdict,
                "fields": each.fields,
            }
            for each in found.findings
        ],
    }


def print_promoted(done: "Promoted", *, dry_run: bool) -> None:
    """Print how many windows of which devices became live, or would."""
    print_table(("DEVICE", "WINDOWS"), sorted(done.windows.items()), right=("WINDOWS",))
    said = error_console()
    verb = "would be handed" if dry_run else "handed"
    said.print(f"{sum(done.windows.values())} windows of {len(done.windows)} devices {verb} to the live worker", markup=False)
    if done.left:
        said.print(f"{done.left} windows that live has and the replay has not stay as they are", markup=False)
