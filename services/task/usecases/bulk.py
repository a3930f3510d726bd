"""Starts, shows and stops bulk operations; and does their steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from meshkit.database.engine import Database
from meshkit.errors import AlreadyExists, DomainError, Unavailable
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Keyset, KeysetPage, keyset_page
from meshkit.security.principal import Principal, acting_for
from services.task.domain.bulk import (
    APPLIES_TO,
    BulkAction,
    BulkOperation,
    NewBulkOperation,
    selected,
)
from services.task.domain.filters import read_filter
from services.task.domain.states import TERMINAL, TaskState
from services.task.domain.task import Task
from services.task.engine.operations.clock import ReadClock
from services.task.engine.operations.operation import Operation
from services.task.engine.operations.steer import Cancel, TryNow
from services.task.engine.writer import Writer
from services.task.errors import BulkOperationNotFound, TaskStateConflict
from services.task.store import bulk as store
from services.task.store import listing, reading
from services.task.store.listing import Step
from services.task.store.paths import Path, path_of
from services.task.store.walks import Place, Stretch
from services.task.usecases.listing import MOST_COUNTED, Listing
from services.task.usecases.tasks import Tasks, copy_of

_CANDIDATES: Final = 1000


class BulkOperations:
    """Operations on many tasks, each within its caller's tenant."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        tasks: Tasks,
        listing: Listing,
        *,
        ids: IdSource = uuid7,
    ) -> None:
        self._database = database
        self._writer = writer
        self._tasks = tasks
        self._listing = listing
        self._ids = ids

    async def start(self, caller: Principal, new: NewBulkOperation) -> BulkOperation:
        """Start an operation; when this returns, it is durable.

        With a request id, a repeat returns the first call's operation.

        Raises:
            InvalidArgument: The filter can't be read.
            AlreadyExists: The request id belongs to another operation.
        """
        if new.request_id and (known := await self._known(caller.tenant, new)) is not None:
            return known
        # What was made before has an earlier time, whichever clock is ahead.
        time = max(await self._database.transaction(store.now), await self._writer.do(ReadClock()))
        total = await self._count(caller.tenant, new, time)
        started = await self._database.transaction(
            lambda connection: store.insert(
                connection,
                self._ids(),
                caller.tenant,
                caller.subject,
                new,
                total=min(total, MOST_COUNTED),
                create_time=time,
            )
        )
        started = started or await self._known(caller.tenant, new)
        if started is None:
            raise AssertionError("what kept an operation out is there")
        return started

    async def get(self, tenant: str, operation_id: UUID) -> BulkOperation:
        """Return an operation of the tenant.

        Raises:
            BulkOperationNotFound: There is none.
        """
        operation = await self._database.transaction(
            lambda connection: store.get(connection, tenant, operation_id)
        )
        if operation is None:
            raise BulkOperationNotFound
        return operation

    async def page(self, tenant: str, wanted: Keyset) -> KeysetPage[BulkOperation]:
        """Return a page of the tenant's operations, the newest first."""
        found = await self._database.transaction(
            lambda connection: store.list_page(connection, tenant, wanted)
        )
        return keyset_page(found, wanted, lambda operation: {"id": operation.id})

    async def stop(self, tenant: str, operation_id: UUID) -> BulkOperation:
        """Stop an operation; one that has ended stays as it is.

        Raises:
            BulkOperationNotFound: There is none.
        """
        stopped = await self._database.transaction(
            lambda connection: store.stop(connection, tenant, operation_id)
        )
        return stopped or await self.get(tenant, operation_id)

    async def next_step(self, operation: BulkOperation, most: int) -> Step:
        """Find the next tasks that an operation is for, up to `most`, the oldest first."""
        path = _path(operation.tenant, operation.action, operation.filter, operation.create_time)
        if path.leads_nowhere:
            return Step([], None, at_end=True, walked=0)
        after = None if operation.cursor is None else Place(*operation.cursor)
        stretch = Stretch(path, path.priorities, False, after, max(most, _CANDIDATES))
        return await self._database.transaction(
            lambda connection: listing.walk(connection, stretch, most)
        )

    async def do(self, operation: BulkOperation, *, again: bool) -> tuple[int, int]:
        """Do a step; return how many tasks it was done to, and how many refused.

        It may have been done before, wholly or in part, if `again`: it changes nothing twice.

        Raises:
            Unavailable: The database is away; the step is to be done again.
        """
        if operation.action is BulkAction.CANCEL:
            cancels = [Cancel(operation.tenant, task_id) for task_id in operation.step]
            return await self._write(cancels, lambda _: False)
        tasks = await self._database.transaction(
            lambda connection: reading.get_tasks(connection, operation.step)
        )
        ended = [task for task in tasks.values() if task.is_done]
        waiting = [task for task in tasks.values() if not task.is_done]
        copied, not_copied = await self._copy(operation, ended)
        # What waits no more had been queued by this step before.
        nows = [TryNow(operation.tenant, task.id) for task in waiting]
        tried, not_tried = await self._write(
            nows, lambda refusal: again and isinstance(refusal, TaskStateConflict)
        )
        gone = len(operation.step) - len(tasks)
        return copied + tried, not_copied + not_tried + gone

    async def _copy(self, operation: BulkOperation, ended: Sequence[Task]) -> tuple[int, int]:
        creator = Principal(operation.creator, operation.tenant, ())
        copies = [copy_of(task, f"bulk:{operation.id}:{task.id}") for task in ended]
        with acting_for(creator):
            outcomes = await self._tasks.create_many(creator, copies)
        refused = [each for each in outcomes if isinstance(each, DomainError)]
        for refusal in refused:
            if isinstance(refusal, Unavailable):
                raise refusal
        return len(outcomes) - len(refused), len(refused)

    async def _write(
        self, operations: Sequence[Operation], is_done: Callable[[DomainError], bool]
    ) -> tuple[int, int]:
        outcomes = await asyncio.gather(
            *(self._writer.do(each) for each in operations), return_exceptions=True
        )
        done = refused = 0
        for outcome in outcomes:
            if not isinstance(outcome, BaseException):
                done += 1
            elif isinstance(outcome, Unavailable) or not isinstance(outcome, DomainError):
                raise outcome
            elif is_done(outcome):
                done += 1
            else:
                refused += 1
        return done, refused

    async def _known(self, tenant: str, new: NewBulkOperation) -> BulkOperation | None:
        found = await self._database.transaction(
            lambda connection: store.find_by_request(connection, tenant, new.request_id)
        )
        if found is None:
            return None
        operation, digest = found
        if digest != new.digest:
            raise AlreadyExists(
                "This request id was used for another operation; use a new one.",
                reason="REQUEST_ID_REUSED",
                field="request_id",
                metadata={"bulk_operation_id": str(operation.id)},
            )
        return operation

    async def _count(self, tenant: str, new: NewBulkOperation, until: datetime) -> int:
        total = 0
        for path in _counted_paths(tenant, new, until):
            total += sum(count.count for count in await self._listing.count(path))
        return total


def _path(tenant: str, action: BulkAction, filter_text: str, until: datetime) -> Path:
    """Return the way to the tasks that an operation is for."""
    wanted = selected(action, read_filter(filter_text))
    return path_of(tenant, wanted, states=APPLIES_TO[action], until=until)


def _counted_paths(tenant: str, new: NewBulkOperation, until: datetime) -> list[Path]:
    """Return the ways to the same tasks, those apart that an index alone can count."""
    if new.action is not BulkAction.RETRY:
        return [_path(tenant, new.action, new.filter, until)]
    wanted = read_filter(new.filter)
    ended = tuple(state for state in APPLIES_TO[new.action] if state in TERMINAL)
    waiting = selected(new.action, wanted)
    return [
        path_of(tenant, wanted, states=ended, until=until),
        path_of(tenant, waiting, states=(TaskState.SCHEDULED,), until=until),
    ]
