"""The operating-system account that PostgreSQL runs under.

PostgreSQL refuses to run as root. An ordinary user runs it as themselves; root runs it as
the account `pgserver`, made when missing, which owns the database's files and nothing else.
"""

import os
import pwd
import subprocess
import time
from dataclasses import dataclass

from agentmesh.stack.errors import StackError

DATABASE_ACCOUNT = "pgserver"
ADD_ATTEMPTS = 10
ADD_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Account:
    """Name the user and group a process runs as."""

    uid: int
    gid: int


def database_account() -> Account | None:
    """Return the account to run PostgreSQL under, or None to run it as the current user.

    Raises StackError when root can't make the account.
    """
    if os.geteuid() != 0:
        return None
    entry = _find() or _add()
    return Account(entry.pw_uid, entry.pw_gid)


def _find() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(DATABASE_ACCOUNT)
    except KeyError:
        return None


def _add() -> pwd.struct_passwd:
    complaint = ""
    for _ in range(ADD_ATTEMPTS):
        complaint = _run_useradd()
        if entry := _find():
            return entry
        # Another program may hold the lock of /etc/passwd for a moment.
        time.sleep(ADD_RETRY_SECONDS)
    raise StackError(
        "PostgreSQL cannot run as root, and the account it would run under could not be made: "
        + complaint,
        f"run agentmesh as an ordinary user, or add a system user named {DATABASE_ACCOUNT!r}",
    )


def _run_useradd() -> str:
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
    ]
    command += ["--shell", "/usr/sbin/nologin", DATABASE_ACCOUNT]
    try:
        result = subprocess.run(  # noqa: S603 - a constant command, found on root's own PATH
            command, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "the command useradd is missing"
    return result.stderr.strip()
