"""What heartbeats of the ingresses tell: who is alive, and whose clock differs; their records have the time of the broker."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.ops.doctor.host_findings import clock_findings


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat.

    Attributes:
        ingress_id: Whose.
        said_s: The time in it, by the clock of the ingress.
        stored_s: The time of its record, by the clock of the broker; seconds since 1970, like all of these.
        arrived_s: When it arrived here while it was waited for, by this clock; None for one that was there before.
    """

    ingress_id: str
    said_s: float
    stored_s: float
    arrived_s: float | None = None


def heartbeat_findings(beats: Iterable[Beat], within_s: float, waited_s: float, now_s: float) -> Iterator[Finding]:
    """No heartbeat came while one was waited for; or clocks of broker and ingress differ from this one.

    What is on its way makes a clock seem behind by less than a second or two; `CLOCK_TOLERANCE_S` is more than that.

    Args:
        within_s: How long there may be none.
        waited_s: How long one was waited for; where that is less, the age of the last one counts.
    """
    every = list(beats)
    fresh = [each for each in every if each.arrived_s is not None]
    if not fresh:
        last = max(every, key=lambda each: each.stored_s, default=None)
        if last is not None and waited_s < within_s and now_s - last.stored_s <= within_s:
            return
        found = "none at all" if last is None else f"the last one is of {last.ingress_id}, {max(0.0, now_s - last.stored_s):.0f} s ago"
        what = "no ingress says that it is alive and in step with MQTT"
        yield finding("ingress-silent", what, found=found, expected=f"a heartbeat within {within_s:g} s")
        return
    newest = fresh[-1]
    yield from clock_findings("the Kafka broker", newest.stored_s - (newest.arrived_s or now_s), 0.0)
    for each in {beat.ingress_id: beat for beat in fresh}.values():
        yield from clock_findings(f"the ingress {each.ingress_id}", each.said_s - each.stored_s, 0.0, "the clock of the Kafka broker")
