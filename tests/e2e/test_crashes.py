"""kill -9 of any process: it comes back, and no task is lost or done twice over."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.inspection import inspect
from agentmesh.stack.state import ProcessRecord, read_state
from tests.e2e.mesh import RunningMesh

AGENTS = Path(__file__).parent / "agents"
PATIENCE = 60.0
PROCESSES = ["task", "registry", "auth", "analytics", "tool_catalog", "gateway", "postgres"]


def record(mesh: RunningMesh, name: str) -> ProcessRecord:
    state = read_state(DataDirectory(mesh.data_dir).state)
    assert state
    return next(each for each in state.processes if each.name == name)


async def until_back(mesh: RunningMesh, name: str, old_pid: int) -> None:
    """Wait until another process stands in the killed one's place, and all are ready."""
    async with asyncio.timeout(PATIENCE):
        while record(mesh, name).pid in (None, old_pid):
            await asyncio.sleep(0.1)
        while not (await inspect(mesh.data_dir)).ready:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", PROCESSES)
async def test_work_goes_on_after_a_process_is_killed(mesh: RunningMesh, name: str) -> None:
    async with mesh.agent(AGENTS / "gated.py", "gated"), mesh.client() as client:
        running = await client.create_task("gate.wait", {"gate": f"{mesh.data_dir}/{name}.gate"})
        async for event in client.watch_task(running.id):
            if event.type == "STARTED":
                break
        old_pid = record(mesh, name).pid
        assert old_pid
        os.kill(old_pid, signal.SIGKILL)
        await until_back(mesh, name, old_pid)
        # The task that ran all the while ends now, on the attempt it began with.
        Path(f"{mesh.data_dir}/{name}.gate").touch()
        async with asyncio.timeout(PATIENCE):
            ended = await client.wait_task(running.id)
            after = await client.run_task("gate.pass", {})
    assert (ended.state, ended.result) == ("SUCCEEDED", 1)
    assert after.state == "SUCCEEDED"
