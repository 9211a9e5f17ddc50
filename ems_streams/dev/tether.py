"""Runs a command that dies with the process that started it: `python -I -S tether.py PARENT_PID COMMAND [ARGUMENT...]`.

A script and not a function of the parent, because code between fork and exec must not run in a process that has threads. On
Linux the kernel kills the command as soon as its parent is gone, however that came about; elsewhere the command only runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, then become the command: same process id, same process group."""
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died before the line above, and then no signal will come.
        if os.getppid() != parent_pid:
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a shell is what is not wanted here
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
