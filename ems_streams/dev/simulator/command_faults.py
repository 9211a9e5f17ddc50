"""How devices misbehave towards commands: the text of `--command-faults` as a value, and what it means for one command."""

from dataclasses import dataclass
from random import Random

from ems_streams.dev.simulator.share_text import parse_shares

_LATE_S = (2.0, 8.0)
_WORK_S = (0.01, 0.15)
_AWAY_S = (4.0, 12.0)
_PRESENT_S = (3.0, 20.0)


@dataclass(frozen=True, slots=True)
class CommandFaults:
    """How much of each fault; 0 is none, 1 is all.

    Attributes:
        refuse: Share of commands that a device rejects, and does not execute.
        fail: Share of commands that a device accepts and cannot carry out: nothing changes, and it says FAILED.
        late: Share of commands whose answers come 2 to 8 s after they should.
        twice: Share of commands of which each answer comes twice.
        never: Share of commands that are executed and not answered.
        offline: Share of devices that lose their connection for 4 to 12 s again and again. What is sent to them meanwhile waits in the broker.
    """

    refuse: float = 0.0
    fail: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    never: float = 0.0
    offline: float = 0.0


DEFAULT_COMMAND_FAULTS = CommandFaults(refuse=0.02, fail=0.02, late=0.02, twice=0.02, never=0.02, offline=0.05)
"""What a kind without a share gets."""


def parse_command_faults(text: str) -> CommandFaults:
    """Read `KIND[=SHARE],...`; `all` is every kind with its default share. Raises `UsageError` naming the offending part."""
    return CommandFaults(**parse_shares("--command-faults", text, DEFAULT_COMMAND_FAULTS))


@dataclass(frozen=True, slots=True)
class Manners:
    """What a device does with one command.

    Attributes:
        work_s: How long it takes to carry it out.
        late_s: How much later than it should it answers.
        answers: How often it sends each answer.
    """

    refuses: bool
    fails: bool
    work_s: float
    late_s: float
    answers: int


def manners(seed: int, serial_number: str, command_id: str, faults: CommandFaults) -> Manners:
    """Equal arguments give equal manners, so a command that comes twice is treated alike both times."""
    random = Random(f"{seed}/commands/{serial_number}/{command_id}")
    # In a fixed order, so that one share does not move another's victims.
    refuse, fail, late, twice, never = (random.random() for _ in range(5))
    answers = 0 if never < faults.never else 2 if twice < faults.twice else 1
    late_s = random.uniform(*_LATE_S) if late < faults.late else 0.0
    return Manners(refuse < faults.refuse, fail < faults.fail, random.uniform(*_WORK_S), late_s, answers)


def is_sometimes_offline(seed: int, serial_number: str, faults: CommandFaults) -> bool:
    """Whether a device is one of those that lose their connection."""
    return Random(f"{seed}/offline/{serial_number}").random() < faults.offline


def absences(seed: int, serial_number: str) -> "Absences":
    """When such a device is there and when not."""
    return Absences(Random(f"{seed}/absences/{serial_number}"))


class Absences:
    """Presence and absence of a device by turns, in seconds, without end."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def next(self) -> tuple[float, float]:
        """How long it stays, and how long it is away then."""
        return self._random.uniform(*_PRESENT_S), self._random.uniform(*_AWAY_S)
