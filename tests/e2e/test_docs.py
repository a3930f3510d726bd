"""The examples in the docs run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import indent

from agentmesh import Client
from tests.e2e.mesh import RunningMesh
from tests.e2e.programs import run

ROOT = Path(__file__).parent.parent.parent


def examples(document: str) -> list[str]:
    """Return the Python of a document, an example each."""
    text = (ROOT / document).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


async def until(client: Client, task_id: str, type_: str) -> None:
    """Watch a task until an event."""
    async for event in client.watch_task(task_id):
        if event.type == type_:
            return
    raise AssertionError(f"the task ended without {type_}")


async def test_what_can_be_asked_of_a_task(mesh: RunningMesh, tmp_path: Path) -> None:
    creating, doing = examples("docs/tasks.md")
    agent, program = tmp_path / "writer.py", tmp_path / "create.py"
    agent.write_text(f"{doing}\n\nagent.run()\n")
    body = indent(f"{creating}    print(task.id)\n", "    ")
    program.write_text(f"import asyncio\n\n\nasync def main():\n{body}\n\nasyncio.run(main())\n")
    async with mesh.agent(agent, "writer"), mesh.client() as client:
        created = await run(sys.executable, program, env=mesh.environment)
        assert (created.code, created.errors) == (0, "")
        task_id = created.output.strip()
        assert (await client.get_task(task_id)).state == "SCHEDULED"
        again = await run(sys.executable, program, env=mesh.environment)
        assert again.output == created.output
        await client.retry_task(task_id)
        await until(client, task_id, "PAUSED")
        await client.approve_task(task_id)
        done = await client.wait_task(task_id)
        assert (done.state, done.result) == ("SUCCEEDED", "done")


async def test_the_first_steps(mesh: RunningMesh, tmp_path: Path) -> None:
    doing, running = examples("README.md")
    agent, program = tmp_path / "greeter.py", tmp_path / "run.py"
    agent.write_text(doing)
    program.write_text(running)
    async with mesh.agent(agent, "greeter"):
        done = await run(sys.executable, program, env=mesh.environment)
    assert (done.code, done.errors, done.output) == (0, "", "Hello, Ada!\n")
