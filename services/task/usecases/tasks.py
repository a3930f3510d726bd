"""What callers want: create, see, list and cancel tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.events import outbox
from meshkit.ids import IdSource, uuid7
from meshkit.paging import Page, PageRequest, page_of
from meshkit.security.principal import Principal
from services.task.announcements import task_finished
from services.task.domain import NewTask, Task, TaskEvent, TaskState, check_transition
from services.task.errors import CapabilityUnknown, RequestIdReused, TaskNotFound
from services.task.store import history
from services.task.store import tasks as store


class Capabilities(Protocol):
    """Knows what agents can do."""

    async def knows_capability(self, tenant: str, capability: str) -> bool:
        """Tell whether any agent of the caller's tenant has ever offered the capability."""
        ...


class Tasks:
    """Creates, shows and cancels tasks, each within the caller's tenant."""

    def __init__(
        self, database: Database, capabilities: Capabilities, *, ids: IdSource = uuid7
    ) -> None:
        self._database = database
        self._capabilities = capabilities
        self._ids = ids

    async def create(self, caller: Principal, new: NewTask) -> Task:
        """Accept a task; when this returns, it is durable.

        With a request id, a repeat returns the first call's task.

        Raises:
            CapabilityUnknown: Nobody has ever offered the capability.
            RequestIdReused: The request id belongs to another task.
        """
        if not await self._capabilities.knows_capability(caller.tenant, new.capability):
            raise CapabilityUnknown(new.capability)
        task_id = self._ids()

        async def work(connection: AsyncConnection) -> Task:
            created = await store.insert_task(
                connection, new, task_id=task_id, tenant=caller.tenant, creator=caller.subject
            )
            return created or await _repeated(connection, caller.tenant, new)

        return await self._database.transaction(work)

    async def get(self, tenant: str, task_id: UUID) -> Task:
        """Return a task of the tenant.

        Raises:
            TaskNotFound: There is none.
        """
        return _found(
            await self._database.transaction(lambda tx: store.get_task(tx, tenant, task_id))
        )

    async def list(self, tenant: str, where: Mapping[str, str], page: PageRequest) -> Page[Task]:
        """Return a page of the tenant's tasks, the newest first."""
        tasks = await self._database.transaction(
            lambda tx: store.list_tasks(tx, tenant, where, page)
        )
        return page_of(tasks, page, lambda task: task.id)

    async def cancel(self, tenant: str, task_id: UUID) -> Task:
        """Call a task off; one that is cancelled already stays as it is.

        Raises:
            TaskNotFound: There is none.
            TaskStateConflict: It has ended otherwise.
        """

        async def work(connection: AsyncConnection) -> Task:
            task = _found(await store.lock_task(connection, tenant, task_id))
            if task.state is TaskState.CANCELLED:
                return task
            check_transition(task.state, TaskState.CANCELLED)
            cancelled = await store.cancel_task(connection, task)
            await outbox.append(connection, [task_finished(cancelled, self._ids)])
            return cancelled

        return await self._database.transaction(work)

    async def events(self, task: Task, after: int) -> Sequence[TaskEvent]:
        """Return what has happened to a task after sequence `after`, in order."""
        return await self._database.transaction(lambda tx: history.list_events(tx, task.id, after))


def _found(task: Task | None) -> Task:
    if task is None:
        raise TaskNotFound
    return task


async def _repeated(connection: AsyncConnection, tenant: str, new: NewTask) -> Task:
    found = await store.find_by_request_id(connection, tenant, new.request_id)
    if found is None:
        raise RuntimeError("a request id that conflicted is gone: tasks are never deleted")
    task, digest = found
    if digest != new.digest:
        raise RequestIdReused(str(task.id))
    return task
