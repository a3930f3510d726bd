"""Answers the tasks that ask: `python -m tests.chaos.answerer`, its orders in CHAOS_ANSWERER."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentmesh.client import Client
from agentmesh.errors import MeshError
from tests.chaos.calls import cause_of, result_of
from tests.chaos.history import History
from tests.chaos.work import answer_to

VARIABLE: Final = "CHAOS_ANSWERER"
_PAUSE: Final = 0.25


@dataclass(frozen=True)
class Orders:
    """Where to look, and as whom."""

    url: str
    key: str
    directory: str


async def main() -> None:
    """Answer until killed."""
    orders = Orders(**json.loads(os.environ[VARIABLE]))
    history = History(Path(orders.directory) / "answers-0.jsonl")
    async with Client(orders.url, orders.key) as client:
        while True:
            with suppress(MeshError):
                asking = [task.id async for task in client.list_tasks("state = PAUSED")]
                await asyncio.gather(*(_answer(client, history, each) for each in asking))
            await asyncio.sleep(_PAUSE)


async def _answer(client: Client, history: History, task_id: str) -> None:
    begun, result, cause = time.time(), "ok", ""
    try:
        await client.resume_task(task_id, answer_to(task_id))
    except MeshError as error:
        result, cause = result_of(error), cause_of(error)
    history.operation(task_id, "answer", begun, result, ids=[], code=cause, sdk=True)


if __name__ == "__main__":
    asyncio.run(main())
