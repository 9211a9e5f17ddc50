"""Which faults, and how many: the text of `--faults` as a value."""

from dataclasses import dataclass

from ems_streams.dev.simulator.share_text import parse_shares


@dataclass(frozen=True, slots=True)
class FaultShares:
    """How much of each fault; 0 is none, 1 is all.

    Attributes:
        duplicates: Share of messages whose bytes are published twice.
        out_of_order: Share of messages that change places with the next one of their device.
        late: Share of messages whose timestamp is 1 minute to 2 hours old.
        clock_skew: Share of devices whose clock is off by a constant of up to 5 minutes, either way.
        silence: Share of devices that fall silent for 20 to 90 s now and then; half of them lose their connection (the last will says
            OFFLINE, and ONLINE follows when they are back), half just hang.
        flapping: Share of devices that report OFFLINE and ONLINE in quick succession every 10 to 40 s.
        poison: Malformed messages in addition to the good ones, as a share of these.
    """

    duplicates: float = 0.0
    out_of_order: float = 0.0
    late: float = 0.0
    clock_skew: float = 0.0
    silence: float = 0.0
    flapping: float = 0.0
    poison: float = 0.0


DEFAULT_SHARES = FaultShares(duplicates=0.01, out_of_order=0.01, late=0.01, clock_skew=0.05, silence=0.05, flapping=0.02, poison=0.01)
"""What a kind without a share gets."""


def parse_faults(text: str) -> FaultShares:
    """Read `KIND[=SHARE],...`; `all` is every kind with its default share. Raises `UsageError` naming the offending part."""
    return FaultShares(**parse_shares("--faults", text, DEFAULT_SHARES))
