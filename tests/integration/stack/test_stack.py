"""The supervisor: order of start and stop, restarts, and what it makes of broken parts."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest

from agentmesh.stack.composition import SERVICES
from agentmesh.stack.errors import StackError
from agentmesh.stack.inspection import MeshStatus, inspect
from agentmesh.stack.report import Happening
from agentmesh.stack.stack import Stack
from tests.integration.stack.conftest import Report, Standins, eventually


def pid_of(mesh: MeshStatus, name: str) -> int:
    pid = next(process.pid for process in mesh.processes if process.name == name)
    assert pid is not None
    return pid


async def kill(directory: Path, name: str) -> None:
    os.kill(pid_of(await inspect(directory), name), signal.SIGKILL)


async def is_ready_after_restarts(directory: Path, name: str, restarts: int) -> bool:
    mesh = await inspect(directory)
    return mesh.ready and any(
        process.name == name and process.restarts >= restarts for process in mesh.processes
    )


@pytest.mark.usefixtures("from_nothing")
async def test_everything_starts_in_order_and_drains_in_reverse(
    tmp_path: Path, standins: Standins, report: Report
) -> None:
    async with Stack(tmp_path / "data", port=0, reporter=report) as stack:
        assert stack.first_start
        assert stack.admin_key == "mesh_admin"
        assert stack.admin_key_path.read_text() == "mesh_admin\n"
        mesh = await inspect(tmp_path / "data")
        assert mesh.ready
        assert mesh.url == stack.url
    ready, stopped = report.parts(Happening.READY), report.parts(Happening.STOPPED)
    assert ready[:2] == ["postgres", "keys"]
    assert set(ready[2:]) == {*SERVICES, "gateway"}
    assert stopped[0] == "gateway"
    assert set(stopped[1:-1]) == set(SERVICES)
    assert stopped[-1] == "postgres"
    assert not (await inspect(tmp_path / "data")).running
    drained = [line for line in standins.history() if line.endswith("stopped")]
    assert drained[0] == "gateway stopped"
    assert len(drained) == len(SERVICES) + 1


async def test_keys_are_made_once_and_kept_closed(tmp_path: Path, standins: Standins) -> None:
    for expected_first in (True, False):
        async with Stack(tmp_path / "data", port=0) as stack:
            assert stack.first_start is expected_first
            assert stack.admin_key == "mesh_admin"
    made = [line for line in standins.history() if "create-key" in line]
    assert made[0] == "auth create-key --name admin --role admin --role platform"
    assert sorted(made[1:]) == [
        f"auth create-key --name service-{name} --role service --subject service:{name}"
        for name in sorted(set(SERVICES) - {"auth"})
    ]
    secrets = list((tmp_path / "data" / "secrets").iterdir())
    assert len(secrets) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


@pytest.mark.parametrize("name", ["task", "gateway", "postgres"])
async def test_what_crashes_is_started_again(
    tmp_path: Path, standins: Standins, report: Report, name: str
) -> None:
    directory = tmp_path / "data"
    async with Stack(directory, port=0, reporter=report) as stack:
        url = stack.url
        await kill(directory, name)
        await eventually(lambda: is_ready_after_restarts(directory, name, 1))
        assert (await inspect(directory)).url == url
    assert standins.history()
    crash = next(event for event in report.events if event.happening is Happening.CRASHED)
    assert crash.part == name
    assert "was ended by SIGKILL; starts again in" in crash.detail


async def test_what_keeps_crashing_is_quoted_and_recovers_once_mended(
    tmp_path: Path, standins: Standins, report: Report
) -> None:
    directory = tmp_path / "data"
    async with Stack(directory, port=0, reporter=report):
        standins.do("task", "broken")
        await kill(directory, "task")

        async def quoted() -> bool:
            return any("what it was told to say" in line for e in report.events for line in e.lines)

        await eventually(quoted)
        mesh = await inspect(directory)
        assert mesh.running
        assert not mesh.ready
        standins.mend("task")
        await eventually(lambda: is_ready_after_restarts(directory, "task", 3))
    crashes = [event for event in report.events if event.happening is Happening.CRASHED]
    assert [bool(event.lines) for event in crashes[:3]] == [False, False, True]
    assert "exited with code 7" in crashes[1].detail


async def test_a_service_that_never_works_ends_the_start(
    tmp_path: Path, standins: Standins, report: Report
) -> None:
    standins.do("analytics", "broken")
    with pytest.raises(StackError, match="analytics exited with code 7") as failure:
        async with Stack(tmp_path / "data", port=0, reporter=report):
            pytest.fail("the stack started without one of its services")
    assert "what it was told to say before it broke" in failure.value.message
    assert failure.value.remedy.endswith("logs/analytics.log")
    assert report.parts(Happening.CRASHED) == ["analytics", "analytics"]
    assert not (await inspect(tmp_path / "data")).running
    assert not _left_over(tmp_path)


async def test_killing_ends_what_ignores_its_drain(tmp_path: Path, standins: Standins) -> None:
    standins.do("registry", "stubborn")
    async with Stack(tmp_path / "data", port=0) as stack:
        pid = pid_of(await inspect(tmp_path / "data"), "registry")
        await stack.kill()
        assert not psutil.pid_exists(pid)
    assert not _left_over(tmp_path)


async def test_waiting_ends_when_the_stack_is_stopped(tmp_path: Path, standins: Standins) -> None:
    assert standins.directory.exists()
    async with Stack(tmp_path / "data", port=0) as stack:
        waiting = asyncio.create_task(stack.wait())
        await stack.stop()
        await asyncio.wait_for(waiting, 30)


async def test_two_meshes_do_not_share_a_directory_but_a_machine(
    tmp_path: Path, standins: Standins
) -> None:
    assert standins.directory.exists()
    async with Stack(tmp_path / "one", port=0) as one:
        with pytest.raises(StackError, match=r"a mesh is running in .*one already \(pid"):
            await Stack(tmp_path / "one", port=0).start()
        assert (await inspect(tmp_path / "one")).ready
        async with Stack(tmp_path / "two", port=0) as two:
            assert one.url != two.url


@pytest.mark.parametrize("lost", ["postgres", "secrets/master.key"])
async def test_a_directory_of_which_a_part_was_lost(
    tmp_path: Path, standins: Standins, lost: str
) -> None:
    assert standins.directory.exists()
    directory = tmp_path / "data"
    async with Stack(directory, port=0):
        pass
    (directory / lost).rename(tmp_path / "lost")
    with pytest.raises(StackError, match=f"incomplete: .*{lost} is missing"):
        async with Stack(directory, port=0):
            pytest.fail("the stack started without a part of its data")


async def test_a_state_that_cannot_be_written_does_not_end_supervision(
    tmp_path: Path, standins: Standins, report: Report
) -> None:
    directory = tmp_path / "data"
    async with Stack(directory, port=0, reporter=report):
        os.kill(pid_of(await inspect(directory), "task"), signal.SIGKILL)
        # A directory in the place of the file: not even root can write that.
        _put_directory_in_the_way(directory / "run" / "mesh.unfinished")

        async def started_again() -> bool:
            return standins.history().count("task started") == 2

        await eventually(started_again)
    assert any("cannot write" in event.detail for event in report.events)


def _put_directory_in_the_way(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _left_over(directory: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in argument for argument in process.info["cmdline"] or [])
    ]
