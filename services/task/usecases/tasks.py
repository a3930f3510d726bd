"""What callers want: create, see and steer tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.errors import DomainError, Unavailable
from meshkit.ids import IdSource, uuid7
from meshkit.security.principal import Principal
from services.task.blobs.payloads import blob_named
from services.task.dispatch.steering import Steering
from services.task.domain.lanes import UNROUTED, Lane, LaneKey, bucket_of, lane_key, plain_key
from services.task.domain.policy import PLAIN, Policy
from services.task.domain.states import EventType
from services.task.domain.task import NewTask, Task, TaskEvent
from services.task.engine.operations.create import Created, CreateTasks, Creation, Repeated
from services.task.engine.operations.steer import Cancel, Resume, TryNow, Update
from services.task.engine.writer import Writer
from services.task.errors import CapabilityUnknown, RelatedTaskNotFound, TaskNotFound
from services.task.store import history, reading

_LANES_AT_A_TIME: Final = 5


class Capabilities(Protocol):
    """Knows what agents can do."""

    def is_known(self, tenant: str, capability: str) -> bool:
        """Tell whether it is known, without asking, that an agent has offered a capability."""
        ...

    async def knows_capability(self, tenant: str, capability: str) -> bool:
        """Tell whether any agent of the caller's tenant has ever offered the capability."""
        ...


class Lanes(Protocol):
    """Knows the lanes."""

    def known_plain(self, tenant: str, capability: str, priority: int) -> Lane | None:
        """Return the lane of tasks that ask for nothing, if it is known."""
        ...

    async def lane_of(self, key: LaneKey, weight: float) -> Lane:
        """Return the lane of a key, made if there is none."""
        ...


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
        self._capabilities = capabilities
        self._lanes = lanes
        self._steering = steering
        self._ids = ids
        self._finding = asyncio.Semaphore(_LANES_AT_A_TIME)

    async def create(self, caller: Principal, new: NewTask) -> Task:
        """Accept a task; when this returns, it is durable.

        With a request id, a repeat returns the first call's task.

        Raises:
            CapabilityUnknown: Nobody has ever offered the capability.
            RequestIdReused: The request id belongs to another task.
            RelatedTaskNotFound: It names a task that there is not.
            ConcurrencyLimitReached, BudgetExceeded: It may not be made now.
        """
        creation = await self._creation(caller, new)
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
        await self._learn_of(caller.tenant, [each for each in wanted if isinstance(each, NewTask)])
        prepared = [await self._prepared(caller, each) for each in wanted]
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
            lane = await self._lane(task.tenant, task.capability, priority, task.policy, task.id)
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

    async def _learn_of(self, tenant: str, wanted: Sequence[NewTask]) -> None:
        """Ask for all that is to be known of tasks at once, rather than for each in turn.

        Whatever can't be learned is asked for again with the task that needs it.
        """
        capabilities = {each.capability for each in wanted}
        unknown = [each for each in capabilities if not self._capabilities.is_known(tenant, each)]
        if len(unknown) > 1:
            asked = (self._capabilities.knows_capability(tenant, each) for each in unknown)
            await asyncio.gather(*asked, return_exceptions=True)
        places = {(each.capability, each.priority) for each in wanted if each.policy is PLAIN}
        # No lane is made for a capability that nobody has.
        new = [
            each
            for each in places
            if self._capabilities.is_known(tenant, each[0])
            and self._lanes.known_plain(tenant, *each) is None
        ]
        if len(new) > 1:
            found = (self._find_plain_lane(tenant, *each) for each in new)
            await asyncio.gather(*found, return_exceptions=True)

    async def _find_plain_lane(self, tenant: str, capability: str, priority: int) -> None:
        async with self._finding:
            key = plain_key(tenant, capability, priority)
            await self._lanes.lane_of(key, PLAIN.fairness_weight)

    async def _prepared(
        self, caller: Principal, new: NewTask | DomainError
    ) -> Creation | DomainError:
        if isinstance(new, DomainError):
            return new
        try:
            return await self._creation(caller, new)
        except DomainError as refusal:
            return refusal

    async def _creation(self, caller: Principal, new: NewTask) -> Creation:
        tenant = caller.tenant
        if not await self._capabilities.knows_capability(tenant, new.capability):
            raise CapabilityUnknown(new.capability)
        if new.policy.sticky_task_id:
            new = replace(new, policy=await self._stuck(tenant, new.policy))
        task_id = self._ids()
        lane = await self._lane(tenant, new.capability, new.priority, new.policy, task_id)
        return Creation(task_id, tenant, caller.subject, lane.id, new)

    async def _stuck(self, tenant: str, policy: Policy) -> Policy:
        try:
            earlier = await self.get(tenant, UUID(policy.sticky_task_id))
        except TaskNotFound as error:
            raise RelatedTaskNotFound("task.placement.sticky_task_id") from error
        if earlier.agent_id is None:
            return policy
        placement = replace(policy.placement, preferred_agent_id=str(earlier.agent_id))
        return replace(policy, placement=placement)

    async def _lane(
        self, tenant: str, capability: str, priority: int, policy: Policy, task_id: UUID
    ) -> Lane:
        routed = self._steering.is_ramping(tenant, capability)
        if policy is PLAIN and not routed:
            known = self._lanes.known_plain(tenant, capability, priority)
            if known is not None:
                return known
        bucket = bucket_of(task_id) if routed else UNROUTED
        key = lane_key(tenant, capability, priority, policy, bucket=bucket)
        return await self._lanes.lane_of(key, policy.fairness_weight)


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
