"""Every target that runs in one process with what feeds it."""

from pathlib import Path

from tests.fuzz.message_targets import message_targets
from tests.fuzz.record_targets import fold_targets
from tests.fuzz.stored_targets import stored_targets
from tests.fuzz.target import Target


def all_targets(directory: Path) -> dict[str, Target]:
    """By name.

    Args:
        directory: For the stores that folds need.
    """
    found = [*message_targets(), *fold_targets(directory), *stored_targets()]
    return {target.name: target for target in found}
