"""One supervisor at a time in a data directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentmesh.stack.errors import StackError
from agentmesh.stack.lock import SupervisorLock

HOLD = """
import sys, time
from pathlib import Path
from agentmesh.stack.lock import SupervisorLock
lock = SupervisorLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    lock = SupervisorLock(tmp_path / "lock")
    assert lock.holder() is None
    lock.acquire()
    assert lock.held
    assert SupervisorLock(tmp_path / "lock").holder() == os.getpid()
    with pytest.raises(StackError, match=rf"is running in .* already \(pid {os.getpid()}\)"):
        SupervisorLock(tmp_path / "lock").acquire()
    lock.release()
    assert SupervisorLock(tmp_path / "lock").holder() is None


def test_releasing_twice_is_harmless(tmp_path: Path) -> None:
    lock = SupervisorLock(tmp_path / "lock")
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert SupervisorLock(path).holder() == holder.pid
        holder.send_signal(signal.SIGKILL)
    assert path.read_text() == f"{holder.pid}\n"
    assert SupervisorLock(path).holder() is None
    SupervisorLock(path).acquire()


@pytest.mark.parametrize("content", ["", "nonsense", "12 34"])
def test_what_is_in_the_file_does_not_matter(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    lock = SupervisorLock(tmp_path / "lock")
    lock.acquire()
    assert SupervisorLock(tmp_path / "lock").holder() == os.getpid()
    lock.release()
