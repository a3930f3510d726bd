"""An agent whose tasks end when a test lets them: once a file exists."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from agentmesh import Agent, TaskContext

agent = Agent("gated")


@dataclass
class Gate:
    """The file to wait for."""

    gate: str


@agent.task("gate.wait")
async def wait(context: TaskContext, gate: Gate) -> int:
    """Wait until the gate is open; say which attempt this was."""
    while not Path(gate.gate).exists():
        await asyncio.sleep(0.05)
    return context.attempt


@agent.task("gate.pass")
async def through() -> str:
    """Pass."""
    return "passed"


agent.run()
