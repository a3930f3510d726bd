"""`agentmesh up`, `status` and `down`, as a user runs them."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agentmesh.stack.lock import SupervisorLock
from agentmesh.stack.orphans import find_orphans
from tests.integration.stack.conftest import Command, Standins

UP = "The mesh is up at "


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a command prints until a line with some text."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended without saying {text!r}:\n{seen}")


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.usefixtures("from_nothing")
def test_up_status_down(command: Command) -> None:
    assert command.run("status").returncode == 1
    up = command.start("up", "--port", "0")
    seen = read_until(up, "agentmesh demo")
    assert "mesh_admin" in seen
    assert "/api/v1/tasks" in seen
    status = command.run("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.count(" ready ") == 7
    mesh = json.loads(command.run("status", "--json").stdout)
    assert mesh["running"]
    assert mesh["ready"]
    assert mesh["supervisor_pid"] == up.pid
    assert mesh["url"] in seen
    down = command.run("down")
    assert (down.returncode, down.stdout) == (0, "The mesh has stopped.\n")
    assert up.wait(10) == 0
    again = command.run("down")
    assert again.returncode == 0
    assert "No mesh is running" in again.stdout
    assert json.loads(command.run("status", "--json").stdout)["running"] is False


def test_the_key_is_printed_at_the_first_start_only(command: Command) -> None:
    first = command.run("up", "--port", "0", "--detach")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "\n  mesh_admin\n" in first.stdout
    assert "mesh_admin" not in (command.data_directory / "logs" / "up.log").read_text()
    assert command.run("down").returncode == 0
    second = command.run("up", "--port", "0", "--detach")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "mesh_admin" not in second.stdout
    assert "secrets/admin.key" in second.stdout


def test_ctrl_c_drains(command: Command, standins: Standins) -> None:
    up = command.start("up", "--port", "0")
    read_until(up, UP)
    up.send_signal(signal.SIGINT)
    seen = read_until(up, "stopped  postgres")
    assert seen.index("stopped  gateway") < seen.index("stopped  task")
    assert up.wait(10) == 0
    assert standins.history().count("task stopped") == 1


def test_a_second_ctrl_c_forces(command: Command, standins: Standins) -> None:
    up = command.start("up", "--port", "0")
    standins.do("task", "stubborn")
    read_until(up, UP)
    up.send_signal(signal.SIGINT)
    read_until(up, "stopped  gateway")
    up.send_signal(signal.SIGINT)
    # Whoever drains to the end, or until it takes too long, ends with 0.
    assert up.wait(30) == 130
    assert not find_orphans(command.data_directory)
    standins.mend("task")
    assert command.run("up", "--port", "0", "--detach").returncode == 0


@pytest.mark.usefixtures("from_nothing")
def test_ctrl_c_during_the_start_ends_what_was_started(command: Command) -> None:
    up = command.start("up", "--port", "0")
    read_until(up, "postgres")
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0
    assert not find_orphans(command.data_directory)
    assert SupervisorLock(command.data_directory / "lock").holder() is None


def test_after_kill_9_of_the_supervisor_the_next_up_goes_on(
    command: Command, standins: Standins
) -> None:
    _leave_a_task_service_behind(command, standins)
    status = command.run("status")
    assert status.returncode == 1
    assert "No mesh is running" in status.stderr
    again = command.run("up", "--port", "0", "--detach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "of an earlier run that was killed" in again.stdout
    assert standins.history().count("task stopped") == 1
    assert command.run("status").returncode == 0


def test_after_kill_9_of_everything_the_next_up_goes_on(command: Command) -> None:
    assert command.run("up", "--port", "0", "--detach").returncode == 0
    mesh = json.loads(command.run("status", "--json").stdout)
    for pid in (mesh["supervisor_pid"], *(process["pid"] for process in mesh["processes"])):
        os.kill(pid, signal.SIGKILL)
    again = command.run("up", "--port", "0", "--detach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert command.run("status").returncode == 0


def test_down_ends_what_a_killed_supervisor_left(command: Command, standins: Standins) -> None:
    _leave_a_task_service_behind(command, standins)
    down = command.run("down")
    assert down.returncode == 0
    assert "had been killed" in down.stdout
    assert standins.history().count("task stopped") == 1
    assert not find_orphans(command.data_directory)


def test_down_that_takes_too_long_says_so(command: Command, standins: Standins) -> None:
    standins.do("task", "stubborn")
    up = command.start("up", "--port", "0")
    read_until(up, UP)
    down = command.run("down", "--timeout", "0.5")
    assert down.returncode == 1
    assert "still draining" in down.stderr
    assert "--timeout" in down.stderr
    standins.mend("task")
    up.send_signal(signal.SIGINT)


@pytest.fixture
def heard_hang_ups() -> Iterator[None]:
    """Have what is run hear a hang-up, though these tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard_hang_ups")
def test_the_supervisor_outlives_whoever_reads_what_it_prints(command: Command) -> None:
    up = command.start("up", "--port", "0")
    read_until(up, UP)
    assert up.stdout is not None
    up.stdout.close()
    mesh = json.loads(command.run("status", "--json").stdout)
    killed = next(process["pid"] for process in mesh["processes"] if process["name"] == "task")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(killed))
    wait_until(lambda: command.run("status").returncode == 0)
    up.send_signal(signal.SIGHUP)
    assert up.wait(60) == 0


def test_a_busy_port(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _is_refused(command, "up", "--port", str(port), saying=f"port {port} is in use")
    assert not find_orphans(command.data_directory)


def test_a_directory_in_use(command: Command) -> None:
    assert command.run("up", "--port", "0", "--detach").returncode == 0
    _is_refused(command, "up", "--port", "0", saying="is running in")
    assert command.run("status").returncode == 0


@pytest.mark.usefixtures("from_nothing")
def test_a_broken_directory(command: Command) -> None:
    command.data_directory.write_text("a file")
    for arguments in (("up", "--port", "0"), ("up", "--port", "0", "--detach")):
        _is_refused(command, *arguments, saying="a file is in the way")


def test_a_detached_start_that_fails_says_why(command: Command, standins: Standins) -> None:
    standins.do("auth", "broken")
    up = command.run("up", "--port", "0", "--detach")
    assert up.returncode == 1
    assert "auth exited with code 7" in up.stdout
    assert "remedy: " in up.stdout
    assert "Traceback" not in up.stdout + up.stderr


def test_a_missing_extra(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'asyncpg' else find(name, *a)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    _is_refused(command, "up", saying="not installed (asyncpg)", remedy="agentmesh[up]")


def _leave_a_task_service_behind(command: Command, standins: Standins) -> None:
    """Kill the supervisor of a mesh whose task service certainly outlives it."""
    standins.do("task", "unleashed")
    up = command.start("up", "--port", "0")
    read_until(up, UP)
    up.kill()
    up.wait()
    # One that is started from now on is as any other.
    standins.mend("task")


def _is_refused(command: Command, *arguments: str, saying: str, remedy: str = "") -> None:
    result = command.run(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert saying in result.stderr
    assert "remedy: " in result.stderr
    assert remedy in result.stderr
    assert "Traceback" not in result.stderr
