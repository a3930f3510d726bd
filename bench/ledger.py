"""What the database of the task service has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from agentmesh.stack.composition import database_name
from bench.mesh_store import MeshStore

POLL_SECONDS = 0.01
MOST_SECONDS = 300.0

_ENDED = "SELECT count(*) FROM finished_tasks WHERE state = 'succeeded' AND end_time > $1"


@asynccontextmanager
async def task_database(mesh: MeshStore) -> AsyncIterator[Any]:
    """Give a connection to the task service's database, as its superuser."""
    connection = await mesh.postgres().connect(database_name("task"))
    try:
        yield connection
    finally:
        await connection.close()


class Ledger:
    """Counts tasks on a connection to the task service's database."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def now(self) -> datetime:
        """Return the time by the database's clock."""
        time: datetime = await self._connection.fetchval("SELECT clock_timestamp()")
        return time

    async def ended_since(self, since: datetime, tasks: int) -> int:
        """Wait until so many tasks have succeeded since then; return how many have."""
        return await self._reached(tasks, _ENDED, since)

    async def all_ended(self) -> None:
        """Wait until no task is unfinished."""
        await self._reached(1, "SELECT (NOT EXISTS (SELECT FROM tasks))::integer")

    async def _reached(self, least: int, query: str, *arguments: Any) -> int:
        async with asyncio.timeout(MOST_SECONDS):
            while (count := await self._connection.fetchval(query, *arguments)) < least:  # noqa: ASYNC110 - told by nobody
                await asyncio.sleep(POLL_SECONDS)
        return int(count)
