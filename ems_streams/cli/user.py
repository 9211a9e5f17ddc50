"""Who runs a command."""

import getpass
import os


def user_name() -> str:
    """Name of the user, or their number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have a number and no name.
        return f"uid-{os.getuid()}"
