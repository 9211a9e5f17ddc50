"""The text of an option that says how much of each kind there is, such as `late=0.05,twice`."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def parse_shares(option: str, text: str, defaults: "DataclassInstance") -> dict[str, float]:
    """Read `KIND[=SHARE],...` for the fields of a dataclass, with - for _ in a kind.

    Args:
        option: Named by the error.
        text: What was given; `all` is every kind with its default share.
        defaults: What a kind without a share gets.

    Raises:
        UsageError: Names the offending part.
    """
    shares_by_default: dict[str, float] = asdict(defaults)
    kinds = {name.replace("_", "-"): name for name in shares_by_default}
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, separator, share = part.partition("=")
        if kind == "all" and not separator:
            shares.update(shares_by_default)
            continue
        if kind not in kinds:
            raise UsageError(f"{option} {part}: {kind!r} is not a fault; expected one of {', '.join(kinds)}, all")
        shares[kinds[kind]] = _share(option, part, share) if separator else shares_by_default[kinds[kind]]
    return shares


def _share(option: str, part: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"{option} {part}: expected a share between 0 and 1")
    return share
