"""Works on bulk operations, in the background."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import structlog

from meshkit.database.engine import Database
from meshkit.errors import DomainError
from meshkit.ids import uuid7
from services.task.domain.bulk import BulkOperation
from services.task.settings import BulkSettings
from services.task.store import bulk as store
from services.task.store.walks import Place
from services.task.usecases.bulk import BulkOperations

log = structlog.get_logger()


class BulkWorker:
    """Takes operations one after the other; any number of replicas may run one.

    What a step is about to be done to is stored before, and what it came to after: so
    another replica goes on where one has stopped in the midst of it.
    """

    def __init__(
        self, database: Database, operations: BulkOperations, settings: BulkSettings
    ) -> None:
        self._database = database
        self._operations = operations
        self._settings = settings
        self._claimant: UUID = uuid7()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look soon: an operation was started."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._woken.clear()
            try:
                while (operation := await self._claim()) is not None:
                    await self._carry_on(operation)
            except DomainError as error:
                log.warning("can't go on with a bulk operation", cause=error.message)
            try:
                async with asyncio.timeout(self._settings.look_interval):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _claim(self) -> BulkOperation | None:
        return await self._database.transaction(
            lambda connection: store.claim(connection, self._claimant, lease=self._settings.lease)
        )

    async def _carry_on(self, operation: BulkOperation) -> None:
        """Work on an operation until it is done, or stopped, or somebody else's."""
        again = bool(operation.step)
        going = True
        while going:
            if not operation.step:
                planned = await self._plan(operation)
                if planned is None:
                    return
                operation = planned
            if operation.step:
                going = await self._do(operation, again=again)
            operation, again = replace(operation, step=()), False
            await asyncio.sleep(self._settings.pause)

    async def _plan(self, operation: BulkOperation) -> BulkOperation | None:
        """Return the operation with its next step; None if there is nothing more to do."""
        found = await self._operations.next_step(operation, self._settings.step)
        if found.at_end and not found.tasks:
            await self._database.transaction(
                lambda connection: store.finish(connection, operation.id, self._claimant)
            )
            return None
        step = tuple(task.id for task in found.tasks)
        cursor = found.last or (None if operation.cursor is None else Place(*operation.cursor))
        held = await self._database.transaction(
            lambda connection: store.plan(connection, operation.id, self._claimant, step, cursor)
        )
        if not held:
            return None
        place = None if cursor is None else (cursor.create_time, cursor.id)
        return replace(operation, step=step, cursor=place)

    async def _do(self, operation: BulkOperation, *, again: bool) -> bool:
        done, refused = await self._operations.do(operation, again=again)
        return await self._database.transaction(
            lambda connection: store.progress(
                connection, operation.id, self._claimant, done=done, refused=refused
            )
        )
