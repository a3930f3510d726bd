"""What root grants the database's account so that it reaches its files."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentmesh.stack.access import let_pass
from agentmesh.stack.account import Account

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root grants access")

NOBODY = Account(65534, 65534)
STRANGER = Account(54321, 54321)


def can(account: Account, *command: str | Path) -> bool:
    return (
        subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Make a directory that only root can enter, with a readable file below."""
    for parent in tmp_path.parents:
        if parent.stat().st_mode & stat.S_IXOTH == 0:
            let_pass(STRANGER, parent / "any")
            let_pass(NOBODY, parent / "any")
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    (closed / "open" / "file").touch()
    tmp_path.chmod(0o711)
    closed.chmod(0o700)
    return closed


@pytest.mark.skipif(sys.platform != "linux", reason="access control lists of Linux")
def test_only_the_account_may_pass_and_it_may_not_look(closed: Path) -> None:
    file = closed / "open" / "file"
    assert not can(NOBODY, "cat", file)
    let_pass(NOBODY, closed / "open")
    assert can(NOBODY, "cat", file)
    assert not can(NOBODY, "ls", closed)
    assert not can(STRANGER, "cat", file)
    assert stat.S_IMODE(closed.stat().st_mode) & 0o007 == 0


def test_granting_again_or_to_another_keeps_what_was_granted(closed: Path) -> None:
    file = closed / "open" / "file"
    for account in (NOBODY, STRANGER, NOBODY):
        let_pass(account, closed / "open")
    assert can(NOBODY, "cat", file)
    assert can(STRANGER, "cat", file)
