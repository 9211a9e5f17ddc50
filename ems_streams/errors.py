"""Errors that people see: each says what is wrong, where, and what was expected.

`exit_code` is what the command line ends with (contracts: 1 failed, 2 wrong usage, 3 a dependency is unreachable).
"""

from typing import ClassVar


class EmsError(Exception):
    """Base of every error raised on purpose; its text is one line fit for an operator."""

    exit_code: ClassVar[int] = 1


class UsageError(EmsError):
    """The caller asked for something that cannot be meant."""

    exit_code: ClassVar[int] = 2


class SettingError(UsageError):
    """A setting has a value that it cannot have.

    Args:
        setting: Name as the user writes it, such as `EMS_PARTITIONS`.
        value: The offending value, already masked when it is a secret.
        expected: What it must be, in words.
    """

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"{setting}={value!r}: {expected}")
        self.setting = setting
        self.value = value
        self.expected = expected


class NotFoundError(EmsError):
    """What was named does not exist; over HTTP a 404.

    Attributes:
        title: The same in few words, for problem documents.
    """

    title: ClassVar[str] = "Not found"


class DependencyError(EmsError):
    """Kafka, the MQTT broker, PostgreSQL or a worker cannot be reached."""

    exit_code: ClassVar[int] = 3


class TopicsMissingError(EmsError):
    """Topics of the catalogue do not exist on the cluster; processes create none by themselves."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(f"topics missing: {', '.join(sorted(missing))}; create them with `ems-streams topics apply`")
        self.missing = missing


class TopicsForbiddenError(TopicsMissingError):
    """Topics are not shown to us, since we may not see them; whether they exist nobody tells us."""

    def __init__(self, forbidden: list[str], who: str) -> None:
        EmsError.__init__(
            self,
            f"Kafka does not allow {who} to use topics: {', '.join(sorted(forbidden))}; log in as the principal of this process, or give it its "
            "rights with `ems-streams acls apply`",
        )
        self.missing = forbidden


class StalledError(EmsError):
    """Something has more to do, could do it, and does not move: the process ends, so that its supervisor starts it again.

    Args:
        where: What does not move, and for how long.
    """

    def __init__(self, where: str) -> None:
        super().__init__(f"no progress: {where}")


class MalformedError(EmsError):
    """A message that cannot be processed, and will not be by trying again: it goes to the dead letters.

    Args:
        reason: Machine-readable class of the defect, such as `invalid_json`; the `dlt-error-class` header.
        detail: Names the field, the value and what was expected; the `dlt-error-message` header.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
