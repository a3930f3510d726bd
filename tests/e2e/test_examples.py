"""The examples do what they say."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.mesh import RunningMesh
from tests.e2e.programs import run

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


async def test_a_client_has_an_agent_do_a_task(mesh: RunningMesh) -> None:
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter"):
        done = await run(sys.executable, EXAMPLES / "run_task.py", "Ada", env=mesh.environment)
    assert (done.code, done.errors) == (0, "")
    assert done.output.splitlines() == ["1 CREATED", "2 STARTED", "3 SUCCEEDED", "Hello, Ada!"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_has_an_agent_do_a_task(mesh: RunningMesh) -> None:
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter"):
        done = await run(EXAMPLES / "curl.sh", "Ada", env=mesh.environment)
    assert (done.code, done.errors) == (0, "")
    assert done.output.count("data:") == 3
    assert '"result":"Hello, Ada!"' in done.output


async def test_an_agent_that_is_told_to_go_is_offline(mesh: RunningMesh) -> None:
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter") as process:
        pass
    assert process.returncode == 0
    async with mesh.client() as client:
        (greeter,) = await client.list_agents('name = "greeter"')
    assert greeter.state == "OFFLINE"


async def test_a_mesh_on_this_machine_is_not_sought_behind_a_proxy(mesh: RunningMesh) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"}
    env = {name: value for name, value in mesh.environment.items() if "no_proxy" not in name}
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter"):
        done = await run(sys.executable, EXAMPLES / "run_task.py", env=env | proxy)
    assert (done.code, done.errors) == (0, "")
    assert done.output.endswith("Hello, world!\n")
