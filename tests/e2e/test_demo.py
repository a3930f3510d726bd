"""`agentmesh demo`, as a user runs it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from mesh.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from tests.e2e.mesh import AGENTMESH, RunningMesh
from tests.e2e.programs import finish, run, start

VERDICT = "All 27 tasks ended as expected, and analytics agrees."
AGENTS = ("demo-facts", "demo-words", "demo-table")


async def test_a_running_mesh_is_used_and_runs_on(mesh: RunningMesh) -> None:
    # Twice: figures of tasks that ended earlier must not disturb.
    for _ in range(2):
        done = await run(*AGENTMESH, "demo", "--data-dir", mesh.data_dir, env=os.environ)
        assert (done.code, done.errors) == (0, ""), done.output
        assert f"{mesh.url} runs already" in done.output
        assert done.output.rstrip().endswith(VERDICT)
    await _assert_nothing_is_left(mesh)


async def test_a_mesh_of_its_own_is_gone_afterwards(tmp_path: Path) -> None:
    done = await run(*AGENTMESH, "demo", env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.code, done.errors) == (0, ""), done.output
    assert done.output.rstrip().endswith(VERDICT)
    assert _what_is_left_of(tmp_path) == []


async def test_ctrl_c_cleans_up(mesh: RunningMesh) -> None:
    process = await start(*AGENTMESH, "demo", "--data-dir", mesh.data_dir, env=os.environ)
    assert process.stdout
    async with asyncio.timeout(60):
        # The first task has ended, and others are under way.
        while b" s  " not in (line := await process.stdout.readline()) or b"ready" in line:
            assert line
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.code, done.errors) == (130, ""), done.output
    assert "stopping" in done.output
    await _assert_nothing_is_left(mesh)


async def test_an_agent_that_ends_too_early_is_told(mesh: RunningMesh) -> None:
    process = await start(*AGENTMESH, "demo", "--data-dir", mesh.data_dir, env=os.environ)
    assert process.stdout
    async with asyncio.timeout(60):
        while b"demo-table" not in (line := await process.stdout.readline()):
            assert line
    agent = int(line.split(b"pid ")[1].split(b",")[0])
    os.kill(agent, signal.SIGKILL)
    done = await finish(process)
    assert done.code == 1, done.output
    assert "error: demo-table was ended by SIGKILL before its tasks were done" in done.errors
    assert "remedy: see " in done.errors
    assert "Traceback" not in done.errors
    await _assert_nothing_is_left(mesh, but_agents=("demo-table",))


@pytest.mark.parametrize("by", ["port", "file"])
async def test_what_stands_in_the_way_is_named(mesh: RunningMesh, tmp_path: Path, by: str) -> None:
    taken = str(urlsplit(mesh.url).port)
    (tmp_path / "file").touch()
    options = {"port": ("--port", taken), "file": ("--data-dir", str(tmp_path / "file"))}
    done = await run(*AGENTMESH, "demo", *options[by], env=os.environ)
    assert done.code == 1
    assert done.errors.startswith("error: ")
    assert "remedy: " in done.errors
    assert "Traceback" not in done.errors


async def _assert_nothing_is_left(mesh: RunningMesh, but_agents: tuple[str, ...] = ()) -> None:
    """No agent is online, no key of one works, no task waits for one."""
    async with mesh.client() as client:
        online = {agent.name for agent in await client.list_agents("state = ONLINE")}
        assert not online & set(AGENTS) - set(but_agents)
        for state in ("QUEUED", "RUNNING"):
            assert [task async for task in client.list_tasks(f"state = {state}")] == []
        stub = auth_service_pb2_grpc.AuthServiceStub(client._channel)
        request = auth_service_pb2.ListApiKeysRequest(page_size=1000)
        keys = (await stub.ListApiKeys(request, metadata=client._connection.metadata)).api_keys
    working = [key.display_name for key in keys if not key.HasField("revoke_time")]
    assert not [name for name in working if name.endswith("of agentmesh demo")]


def _what_is_left_of(path: Path) -> list[str]:
    """Return the files below a directory, and the commands that name it."""
    commands = [
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    ]
    return [
        *(str(file) for file in path.iterdir()),
        *(command for command in commands if str(path) in command),
    ]
