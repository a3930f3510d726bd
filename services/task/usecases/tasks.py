"""What callers want: create, see and steer tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError, Unavailable
from meshkit.ids import IdSource, uuid7
from meshkit.security.principal import Principal
from services.task.blobs.payloads import blob_named
from services.task.dispatch.steering import Steering
from services.task.domain.states import EventType
from services.task.domain.task import NewTask, Task, TaskEvent
from services.task.engine.operations.create import Created, CreateTasks, Creation, Repeated
from services.task.engine.operations.steer import Cancel, Resume, TryNow, Update
from services.task.engine.writer import Writer
from services.task.errors import TaskNotFound
from services.task.store import history, reading
from services.task.usecases.preparing import Capabilities, Lanes, Preparing


class News(NamedTuple):
    """What has happened to a task, in order, the task, and whether more may have happened."""

    events: Sequence[TaskEvent]
    task: Task
    may_go_on: bool


class Tasks:
    """Creates, shows and steers tasks, each within the caller's tenant."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        capabilities: Capabilities,
        lanes: Lanes,
        steering: Steering,
        *,
        ids: IdSource = uuid7,
    ) -> None:
        self._database = database
        self._writer = writer
        self._preparing = Preparing(capabilities, lanes, steering, self.get, ids)

    async def create(self, caller: Principal, new: NewTask) -> Task:
        """Accept a task; when this returns, it is durable.

        With a request id, a repeat returns the first call's task.

        Raises:
            CapabilityUnknown: Nobody has ever offered the capability.
            RequestIdReused: The request id belongs to another task.
            RelatedTaskNotFound: It names a task that there is not.
            ConcurrencyLimitReached, BudgetExceeded: It may not be made now.
        """
        creation = await self._preparing.creation(caller, new)
        (created,) = await self._writer.do(CreateTasks([creation]))
        if isinstance(created, DomainError):
            raise created
        if isinstance(created, Repeated):
            return await self.get(caller.tenant, created.task_id)
        return created  # type: ignore[no-any-return] # the writer is for operations of all kinds

    async def create_many(
        self, caller: Principal, wanted: Sequence[NewTask | DomainError]
    ) -> list[UUID | DomainError]:
        """Accept tasks, each by itself; return the id or the refusal of each, in order."""
        prepared = await self._preparing.creations(caller, wanted)
        creations = [each for each in prepared if isinstance(each, Creation)]
        made = iter(await self._create_all(creations) if creations else [])
        outcomes: list[UUID | DomainError] = []
        for each in prepared:
            outcome = next(made) if isinstance(each, Creation) else each
            match outcome:
                case Repeated(task_id):
                    outcomes.append(task_id)
                case Task():
                    outcomes.append(outcome.id)
                case _:
                    outcomes.append(outcome)
        return outcomes

    async def _create_all(self, creations: Sequence[Creation]) -> Sequence[Created]:
        try:
            made: Sequence[Created] = await self._writer.do(
                CreateTasks(creations), weight=len(creations)
            )
        except Unavailable:
            raise
        except DomainError as refusal:
            if len(creations) == 1:
                return [refusal]
            # What is wrong with one must not keep the others out.
            apart = await asyncio.gather(*(self._create_all([each]) for each in creations))
            return [outcome for [outcome] in apart]
        return made

    async def get(self, tenant: str, task_id: UUID) -> Task:
        """Return a task of the tenant.

        Raises:
            TaskNotFound: There is none.
        """
        task = await self._database.read(
            lambda connection: reading.get_task(connection, tenant, task_id)
        )
        if task is None:
            raise TaskNotFound
        return task

    async def cancel(self, tenant: str, task_id: UUID, grace: float | None) -> Task:
        """Call a task off, and all under it; one that is cancelled already stays as it is.

        Raises:
            TaskNotFound: There is none.
            TaskStateConflict: It has ended otherwise.
        """
        await self._writer.do(Cancel(tenant, task_id, grace))
        return await self.get(tenant, task_id)

    async def resume(self, tenant: str, task_id: UUID, answer: bytes, *, reject: bool) -> Task:
        """Answer a paused task.

        Raises:
            TaskNotFound: There is none.
            TaskStateConflict: It is not paused.
        """
        await self._writer.do(Resume(tenant, task_id, answer, reject))
        return await self.get(tenant, task_id)

    async def update(self, update: Update) -> Task:
        """Change a task that has not ended; a new priority moves it to another lane.

        Raises:
            TaskNotFound: There is none.
            TaskStateConflict: It has ended.
            EtagMismatch: It has changed since.
        """
        priority = update.values.priority
        if priority is not None:
            task = await self.get(update.tenant, update.task_id)
            lane = await self._preparing.lane(
                task.tenant, task.capability, priority, task.policy, task.id
            )
            update = replace(update, values=replace(update.values, lane=lane.id))
        await self._writer.do(update)
        return await self.get(update.tenant, update.task_id)

    async def retry(self, caller: Principal, task_id: UUID, request_id: str) -> Task:
        """Run a task again: at once if it waits for its time, or as a copy if it has ended.

        Raises:
            TaskNotFound: There is none.
            TaskStateConflict: It runs, or waits for something else than its time.
        """
        task = await self.get(caller.tenant, task_id)
        if task.is_done:
            return await self.create(caller, copy_of(task, request_id))
        await self._writer.do(TryNow(caller.tenant, task_id))
        return await self.get(caller.tenant, task_id)

    async def news(
        self, tenant: str, task_id: UUID, *, after: int, known: Task | None = None
    ) -> News:
        """Return what has happened to a task after sequence `after`, and the task.

        The task is the one `known`, if there is news that it need not be read for.

        Raises:
            TaskNotFound: There is none in the tenant.
        """

        async def work(connection: AsyncConnection) -> tuple[Sequence[TaskEvent], Task | None]:
            events = await history.list_events(connection, task_id, after)
            task = known
            if task is None or not events or any(map(_changes_task, events)):
                task = await reading.get_task(connection, tenant, task_id)
            return events, task

        events, task = await self._database.read(work)
        if task is None:
            raise TaskNotFound
        return News(events, task, history.may_go_on(events))

    async def changes(self, tenant: str, task_id: UUID) -> Sequence[TaskEvent]:
        """Return what has happened to a task but its output, in order; of very much the latest.

        Raises:
            TaskNotFound: There is none.
        """
        task = await self.get(tenant, task_id)
        return await self._database.read(
            lambda connection: history.list_changes(connection, task.id)
        )


def _changes_task(event: TaskEvent) -> bool:
    """Tell whether an event changes what its own fields don't tell."""
    return event.is_last or event.type is EventType.UPDATED


def copy_of(task: Task, request_id: str) -> NewTask:
    """Return what makes the same task once more, free of its time and of other tasks."""
    policy = replace(task.policy, dependencies=(), needs_any=False, expire_time=None)
    return NewTask(
        capability=task.capability,
        input=task.input,
        input_payload=task.input_payload,
        input_blob=blob_named(task.input_payload),
        max_attempts=task.max_attempts,
        priority=task.priority,
        labels=task.labels,
        attributes=task.attributes,
        policy=policy,
        replay_of=task.id,
        request_id=request_id,
        digest=task.id.bytes,
    )
