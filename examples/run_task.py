"""Have the greeter greet somebody, and watch it being done: `python run_task.py Ada`."""

import asyncio
import sys

from agentmesh import Client


async def main(name: str) -> None:
    """Create a task, watch it to its end, and print its result."""
    async with Client() as client:
        task = await client.create_task("text.greet", {"name": name})
        async for event in client.watch_task(task.id):
            print(event.sequence, event.type)
        task = await client.get_task(task.id)
        print(task.result)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "world"))
