"""A newcomer's way: up, a task by curl's means, watched live; down, up, and all is still there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx

from agentmesh.stack.directory import DataDirectory
from agentmesh.stack.secrets import SecretFiles
from agentmesh.stack.state import read_state
from tests.e2e.mesh import AGENTMESH, RunningMesh
from tests.e2e.programs import Done, run

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def http(mesh: RunningMesh) -> httpx.AsyncClient:
    """Call the JSON gateway with the admin's key."""
    headers = {"authorization": f"Bearer {mesh.admin_key}"}
    return httpx.AsyncClient(base_url=f"{mesh.url}/api/v1", headers=headers, timeout=30)


async def events_of(client: httpx.AsyncClient, task_id: str) -> list[dict[str, object]]:
    """Follow a task by server-sent events to its end."""
    accept = {"accept": "text/event-stream"}
    async with client.stream("GET", f"/tasks/{task_id}:watch", headers=accept) as response:
        assert response.headers["content-type"] == "text/event-stream"
        return [
            json.loads(line.removeprefix("data:"))
            async for line in response.aiter_lines()
            if line.startswith("data:")
        ]


async def test_a_task_by_json_is_done_and_watched_live(mesh: RunningMesh) -> None:
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter"), http(mesh) as client:
        task = {"capability": "text.greet", "input": {"name": "Ada"}, "labels": {"by": "json"}}
        created = await client.post("/tasks", json=task)
        assert created.status_code == 200, created.text
        task_id = created.json()["id"]
        events = await events_of(client, task_id)
        got = (await client.get(f"/tasks/{task_id}")).json()
    assert [event["sequence"] for event in events] == ["1", "2", "3"]
    assert events[-1]["type"] == "TYPE_SUCCEEDED"
    assert (got["state"], got["result"]) == ("TASK_STATE_SUCCEEDED", "Hello, Ada!")
    assert got["labels"] == {"by": "json"}


async def test_the_same_request_id_makes_one_task(mesh: RunningMesh) -> None:
    async with mesh.agent(EXAMPLES / "greeter.py", "greeter"), http(mesh) as client:
        task = {"capability": "text.greet", "input": {"name": "Ada"}}
        first, second = [
            (await client.post("/tasks?requestId=once-and-for-all", json=task)).json()["id"]
            for _ in range(2)
        ]
    assert first == second


async def test_a_tool_is_catalogued_and_found(mesh: RunningMesh) -> None:
    tool = {
        "name": "greet",
        "version": "1.0.0",
        "description": "Greets somebody by name.",
        "capability": "text.greet",
        "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        "tags": ["text"],
    }
    async with http(mesh) as client:
        created = await client.post("/tools", json=tool)
        assert created.status_code == 200, created.text
        found = (await client.get("/tools", params={"filter": 'tag = "text"'})).json()
        again = await client.post("/tools", json=tool)
    assert created.json() in found["tools"]
    assert again.status_code == 409
    assert again.json()["details"][0]["reason"] == "TOOL_EXISTS"


async def agentmesh(*arguments: str | Path, data_dir: Path) -> Done:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMESH_")}
    return await run(*AGENTMESH, *arguments, env=env | {"AGENTMESH_DATA_DIR": str(data_dir)})


async def up(data_dir: Path) -> RunningMesh:
    """Start a mesh in the background, as a user does."""
    done = await agentmesh("up", "--detach", "--port", "0", data_dir=data_dir)
    assert done.code == 0, done.output + done.errors
    directory = DataDirectory(data_dir)
    state, key = read_state(directory.state), SecretFiles(directory.secrets).read("admin")
    assert state
    assert key
    return RunningMesh(state.url, key, data_dir)


async def test_after_down_and_up_all_is_still_there(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    try:
        mesh = await up(data_dir)
        async with mesh.agent(EXAMPLES / "greeter.py", "greeter"), mesh.client() as client:
            task = await client.run_task("text.greet", {"name": "Ada"})
        assert (await agentmesh("status", data_dir=data_dir)).code == 0
        assert (await agentmesh("down", data_dir=data_dir)).code == 0
        assert (await agentmesh("status", data_dir=data_dir)).code != 0
        again = await up(data_dir)
        assert again.admin_key == mesh.admin_key
        async with again.client() as client:
            assert await client.get_task(task.id) == task
            assert [each.name for each in await client.list_agents()] == ["greeter"]
            assert (await client.overview()).totals.succeeded == 1
    finally:
        await agentmesh("down", data_dir=data_dir)
