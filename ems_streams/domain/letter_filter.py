"""Which dead letters are meant: by error class, stage, device and the like, and by when they were put aside."""

from collections.abc import Iterable
from typing import Final

from pydantic import Field

from ems_streams.domain.events import Event
from ems_streams.domain.letter import Letter
from ems_streams.errors import UsageError

FIELDS: Final = ("error-class", "stage", "serial", "origin", "channel", "message", "replays")
"""What can be asked for; `message` is a part of the error message, `origin` the topic that the record came from."""

NOT_SAID: Final = "-"
"""Names the group of what a letter does not say, and asks for it."""

GROUPINGS: Final = ("error-class", "stage", "device", "origin")


class LetterFilter(Event):
    """Letters for which each condition holds; of several values of one field any will do.

    Attributes:
        where: Wanted values by field, of `FIELDS`.
        since_ms: Put aside at this time or later, epoch milliseconds.
        until_ms: Put aside before this time.
    """

    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        if self.since_ms is not None and letter.timestamp_ms < self.since_ms:
            return False
        if self.until_ms is not None and letter.timestamp_ms >= self.until_ms:
            return False
        return all(_has(letter, field, wanted) for field, wanted in self.where.items())

    @property
    def empty(self) -> bool:
        """Whether every letter is meant."""
        return not self.where and self.since_ms is None and self.until_ms is None


def parse_where(texts: Iterable[str], option: str = "--where") -> dict[str, tuple[str, ...]]:
    """Conditions such as `error-class=invalid_json,stage=ingress`; raises `UsageError`."""
    found: dict[str, tuple[str, ...]] = {}
    given = list(texts)
    for text in given:
        # A variable of a shell that is not set must not mean every letter.
        if not text.strip(" ,"):
            raise UsageError(f"{option} {text!r}: expected FIELD=VALUE, with a field of {', '.join(FIELDS)}")
    for condition in (part.strip() for text in given for part in text.split(",")):
        if not condition:
            continue
        field, equals, value = condition.partition("=")
        if field not in FIELDS or not equals or not value:
            raise UsageError(f"{option} {condition!r}: expected FIELD=VALUE, with a field of {', '.join(FIELDS)}")
        if field == "replays" and not value.isdecimal():
            raise UsageError(f"{option} {condition!r}: expected a whole number")
        found[field] = (*found.get(field, ()), value)
    return found


def group_of(letter: Letter, grouping: str) -> str:
    """Name of the group that a letter is in; what is not known is a dash."""
    failure = letter.failure
    origin = None if failure.origin is None else failure.origin.topic
    name = {"error-class": failure.error_class, "stage": failure.stage, "device": letter.serial, "origin": origin}[grouping]
    return name or NOT_SAID


def _has(letter: Letter, field: str, wanted: tuple[str, ...]) -> bool:
    failure = letter.failure
    if field == "message":
        return any(each in (failure.error_message or "") for each in wanted)
    values = {
        "error-class": failure.error_class,
        "stage": failure.stage,
        "serial": letter.serial,
        "origin": None if failure.origin is None else failure.origin.topic,
        "channel": failure.channel,
        "replays": str(failure.replay_count),
    }
    return (values[field] or NOT_SAID) in wanted
