"""Retention: deletes finished tasks by outcome and age, and what else has grown old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from services.task.domain.states import TaskState
from services.task.settings import RetentionSettings
from services.task.store import bulk, lanes
from services.task.store import retention as store
from services.task.store.retention import OutputPlace, OutputStep, TaskPlace, TasksStep

log = structlog.get_logger()

Step = Callable[[AsyncConnection, float, int], Awaitable[int]]
"""Deals with up to so many things that are so many seconds old; returns how many there were."""


class Retention:
    """Deletes what is too old by the clock of the database; any number of replicas may run one.

    In small steps with pauses between, so that neither locks nor snapshots are held
    long, and whoever works on tasks finds the database free.
    """

    def __init__(self, database: Database, settings: RetentionSettings) -> None:
        self._database = database
        self._settings = settings
        self._keep = {
            TaskState.SUCCEEDED: settings.keep_succeeded,
            TaskState.FAILED: settings.keep_failed,
            TaskState.CANCELLED: settings.keep_cancelled,
            TaskState.DEAD_LETTERED: settings.keep_dead_lettered,
        }

    async def run(self) -> None:
        """Delete until cancelled."""
        while True:
            try:
                await self.run_once()
            except DomainError as error:
                log.warning("can't delete old tasks", cause=error.message)
            await asyncio.sleep(self._settings.interval)

    async def run_once(self) -> int:
        """Delete all that is too old now; return how many tasks that were."""
        await self._delete_output()
        await self._in_steps(bulk.delete_ended, self._settings.keep_bulk_operations)
        await self._in_steps(lanes.remove_idle, self._settings.keep_lanes)
        return sum([await self._delete_tasks(state, keep) for state, keep in self._keep.items()])

    async def _delete_tasks(self, state: TaskState, keep: float) -> int:
        deleted, place = 0, TaskPlace()
        while True:
            step = await self._tasks_step(state, keep, place)
            deleted += step.deleted
            if step.place is None:
                return deleted
            place = step.place
            await asyncio.sleep(self._settings.pause)

    async def _delete_output(self) -> None:
        place = OutputPlace()
        while (following := (await self._output_step(place)).place) is not None:
            place = following
            await asyncio.sleep(self._settings.pause)

    async def _in_steps(self, step: Step, keep: float) -> None:
        most = self._settings.step
        while True:
            found = await self._database.transaction(
                lambda connection: step(connection, keep, most)
            )
            if found < most:
                return
            await asyncio.sleep(self._settings.pause)

    async def _tasks_step(self, state: TaskState, keep: float, place: TaskPlace) -> TasksStep:
        return await self._database.transaction(
            lambda connection: store.delete_tasks(
                connection, state, keep, place, self._settings.step
            )
        )

    async def _output_step(self, place: OutputPlace) -> OutputStep:
        return await self._database.transaction(
            lambda connection: store.delete_output(
                connection, self._settings.keep_output, place, self._settings.step
            )
        )
