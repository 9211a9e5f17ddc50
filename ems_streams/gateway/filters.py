"""Which notifications a client of the WebSocket wants: `site`, `device`, `severity` and `kind`, each with one or more values; pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Facts(NamedTuple):
    """What filters look at; None where the notification has no such field."""

    site_id: int | None = None
    serial_number: str | None = None
    severity: str | None = None
    kind: str | None = None


NO_FACTS = Facts()


def facts_of(document: dict[str, Any]) -> Facts:
    """The facts of a notification as JSON has it, whatever is in it."""
    site, *texts = (document.get(name) for name in ("siteId", "serialNumber", "severity", "kind"))
    return Facts(site if isinstance(site, int) else None, *(text if isinstance(text, str) else None for text in texts))


@dataclass(frozen=True, slots=True)
class Filter:
    """Wants what has one of the values in each field; an empty set wants all. Equal filters share what is prepared for them.

    Attributes:
        visible: Sites that may be shown to whoever asks, whatever they want; None for every one, and what is of no site.
    """

    sites: frozenset[int] = frozenset()
    devices: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    visible: frozenset[int] | None = None

    def wants(self, facts: Facts) -> bool:
        """Whether a notification with these facts is for this client."""
        return (
            (self.visible is None or facts.site_id in self.visible)
            and (not self.sites or facts.site_id in self.sites)
            and (not self.devices or facts.serial_number in self.devices)
            and (not self.severities or facts.severity in self.severities)
            and (not self.kinds or facts.kind in self.kinds)
        )


EVERYTHING = Filter()
