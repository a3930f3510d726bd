"""An agent of the SDK as a process: `python -m tests.chaos.sdk_agent`, its orders in CHAOS_AGENT.

It behaves: what goes wrong with its tasks is the mesh's doing, or the SDK's.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentmesh.agent import Agent
from agentmesh.errors import TaskFailed
from agentmesh.task_context import TaskContext
from tests.chaos.history import History
from tests.chaos.work import CAPABILITY, FAMILY, answer_to, deed

VARIABLE: Final = "CHAOS_AGENT"
CHILD_LABEL: Final = "family"


@dataclass(frozen=True)
class Orders:
    """What an agent is called, and where it connects."""

    number: int
    slots: int
    url: str
    key: str
    directory: str


def agent_of(orders: Orders) -> Agent:
    """Return an agent with handlers for both capabilities."""
    history = History(Path(orders.directory) / f"agent-sdk-{orders.number}.jsonl")
    agent = Agent(
        f"chaos-sdk-{orders.number}", slots=orders.slots, url=orders.url, api_key=orders.key
    )

    def note(ev: str, context: TaskContext) -> None:
        history.add(ev=ev, task=context.task_id, attempt=context.attempt, time=time.time())

    @agent.task(CAPABILITY)
    async def work(context: TaskContext, said: dict[str, Any]) -> str:
        note("start", context)
        if "work" not in said:
            note("hollow", context)
        if context.answered and context.answer != answer_to(context.task_id):
            note("wrong answer", context)
        await asyncio.sleep(said.get("work", 0.0))
        wanted = deed(said, attempt=context.attempt, epoch=0, answered=context.answered)
        if wanted.kind == "ask":
            context.pause("How to go on?")
        if wanted.kind == "fail":
            raise TaskFailed(
                "as was asked",
                type=wanted.error,
                retryable=wanted.retryable,
                retry_after=wanted.retry_after or None,
                pause_key=wanted.pause_key,
            )
        return "done"

    @agent.task(FAMILY)
    async def make_children(context: TaskContext, said: dict[str, int]) -> int:
        note("start", context)
        children = [
            context.run_child(
                CAPABILITY, {"work": 0.01}, key=str(number), labels={CHILD_LABEL: "yes"}
            )
            for number in range(said["children"])
        ]
        return len(await asyncio.gather(*children))

    return agent


if __name__ == "__main__":
    agent_of(Orders(**json.loads(os.environ[VARIABLE]))).run()
