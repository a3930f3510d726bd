"""Become another program that ends when the process which started it does.

Run as a script: `python -I -S leash.py PARENT_PID SIGNAL UID GID PROGRAM [ARGUMENT...]`.
Linux then sends SIGNAL to PROGRAM when its parent dies, even by kill -9; elsewhere PROGRAM
runs without a leash. A UID of -1 keeps the user. This is a program of its own, and not a
function between fork and exec, because forking a process in which gRPC runs is not safe.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 126


def main(arguments: list[str]) -> None:
    """Take the leash and become the program; exit with 126 and one line if that fails."""
    parent, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which would undo it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit("the supervisor ended before the start was complete")
    try:
        os.execv(command[0], command)  # noqa: S606 - a shell is what this must not have
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main(sys.argv[1:])
