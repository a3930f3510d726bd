"""Let the database's account reach its files when root keeps them in a closed place.

Below a directory such as /root (mode 0700) another account reaches nothing. It is granted
the right to pass through, and no other: by an access control list naming that account
alone, or, where the filesystem has none, by the search bit for others.
"""

import errno
import os
import stat
import struct
import sys
from pathlib import Path

from agentmesh.stack.account import Account

ACL = "system.posix_acl_access"
ACL_VERSION = struct.pack("<I", 2)
ENTRY = struct.Struct("<HHI")
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NO_ID = 0xFFFFFFFF
SEARCH = 1

Entries = dict[tuple[int, int], int]


def let_pass(account: Account, path: Path) -> None:
    """Let an account reach `path` through every directory above it."""
    for directory in path.resolve().parents:
        if not _may_pass(account, directory):
            _grant(account, directory)


def let_read(account: Account, tree: Path) -> None:
    """Let an account reach and read an installed tree of files that hold no secrets."""
    let_pass(account, tree)
    if _is_open(tree):
        return
    for path in (tree, *tree.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode):
            path.chmod(mode | 0o044 | (0o011 if mode & stat.S_IXUSR else 0))


def _is_open(tree: Path) -> bool:
    return bool(tree.stat().st_mode & stat.S_IXOTH)


def _may_pass(account: Account, directory: Path) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    entries = _read_acl(directory)
    if entries.get((USER, account.uid), 0) & entries.get((MASK, NO_ID), 0) & SEARCH:
        return True
    return bool(status.st_mode & stat.S_IXOTH)


def _grant(account: Account, directory: Path) -> None:
    entries = _read_acl(directory) or _acl_of_mode(directory)
    entries[USER, account.uid] = entries.get((USER, account.uid), 0) | SEARCH
    # The mask bounds what groups and named users get; without one, the group's own rights do.
    bound = entries.get((MASK, NO_ID), entries[GROUP_OBJ, NO_ID])
    entries[MASK, NO_ID] = bound | SEARCH
    try:
        _write_acl(directory, entries)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH)


def _acl_of_mode(directory: Path) -> Entries:
    mode = directory.stat().st_mode
    return {
        (USER_OBJ, NO_ID): mode >> 6 & 7,
        (GROUP_OBJ, NO_ID): mode >> 3 & 7,
        (OTHER, NO_ID): mode & 7,
    }


def _read_acl(directory: Path) -> Entries:
    if sys.platform != "linux":
        return {}
    try:
        packed = os.getxattr(directory, ACL)
    except OSError:
        return {}
    entries = ENTRY.iter_unpack(packed[len(ACL_VERSION) :])
    return {(tag, identifier): permissions for tag, permissions, identifier in entries}


def _write_acl(directory: Path, entries: Entries) -> None:
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "no access control lists here")
    packed = b"".join(
        ENTRY.pack(tag, permissions, identifier)
        for (tag, identifier), permissions in sorted(entries.items())
    )
    os.setxattr(directory, ACL, ACL_VERSION + packed)
