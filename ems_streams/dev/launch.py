"""Becomes a command that dies with the process that started it: `python -I -S launch.py PARENT_PID SIGNAL UID GID COMMAND...`.

UID and GID are `-` to keep those of the caller. A script and not a function of the parent, because code between fork and exec must
not run in a process that has threads. On Linux the kernel sends SIGNAL to the command as soon as the thread that started it is
gone, however that came about; elsewhere the command only runs.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Change the user, ask for the signal, then become the command: same process id, same process group."""
    parent_pid, number, uid, gid, *command = sys.argv[1:]
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After the change of user, which would take the wish back.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        # The parent may have died before the line above, and then no signal will come.
        if os.getppid() != int(parent_pid):
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a shell is what is not wanted here
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
