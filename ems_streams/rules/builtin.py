"""The rules that come with EMS Streams, for the device types of this project."""

from functools import cache
from importlib.resources import files

from ems_streams.domain.alarm_rules import AlarmRule
from ems_streams.rules.file import parse_rules


@cache
def builtin_rules() -> tuple[AlarmRule, ...]:
    """The built-in rules, in the order of their file."""
    rules, problems = parse_rules(builtin_file())
    assert not problems, [str(problem) for problem in problems]
    return rules


def builtin_file() -> bytes:
    """The file that they are in."""
    return files("ems_streams.rules.resources").joinpath("builtin.yaml").read_bytes()
