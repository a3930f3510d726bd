"""What agents want: be given tasks, keep their leases, report what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.events import outbox
from meshkit.ids import IdSource, uuid7
from services.task.announcements import task_finished
from services.task.domain import (
    TERMINAL,
    Agent,
    Lease,
    Progress,
    RetryPolicy,
    Task,
    TaskError,
    TaskState,
)
from services.task.store import leases as store
from services.task.store import tasks as queue

LEASE_LOST: Final = "LEASE_LOST"
_REAP_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class Completed:
    """The task is done; `result` is a serialized google.protobuf.Value."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; another may succeed if `retryable`."""

    error: TaskError
    retryable: bool


@dataclass(frozen=True, slots=True)
class Released:
    """The agent gives the task back."""


Outcome = Progress | Completed | Failed | Released
"""What an agent reports of a task."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Whether a report counts; if not, `reason` says why."""

    lease: Lease
    accepted: bool
    reason: str = ""


class Attempts:
    """Leases tasks to agents and records what they report, fenced by epochs."""

    def __init__(
        self,
        database: Database,
        retries: RetryPolicy,
        *,
        lease_seconds: float,
        ids: IdSource = uuid7,
    ) -> None:
        self._database = database
        self._retries = retries
        self._lease_seconds = lease_seconds
        self._ids = ids

    async def claim(self, agent: Agent, capabilities: Sequence[str], slots: int) -> list[Task]:
        """Lease up to `slots` queued tasks to the agent, the first ones first."""
        return await self._database.transaction(
            lambda tx: store.claim(tx, agent, capabilities, slots=slots, lease=self._lease_seconds)
        )

    async def is_waiting(self, agent: Agent, capabilities: Sequence[str]) -> bool:
        """Tell whether a task waits that the agent could take."""
        return await self._database.transaction(
            lambda tx: store.is_waiting(tx, agent, capabilities)
        )

    async def renew(self, agent: Agent, leases: Sequence[Lease]) -> set[Lease]:
        """Prolong the leases and return those that the agent still holds."""
        return await self._database.transaction(
            lambda tx: store.renew(tx, agent, leases, lease=self._lease_seconds)
        )

    async def report(self, agent: Agent, lease: Lease, outcome: Outcome) -> Receipt:
        """Record what became of a task; when this returns, it is durable.

        A report on a lease that is lost is refused. A terminal report that comes
        again is accepted again, without effect.
        """

        async def work(connection: AsyncConnection) -> Receipt:
            task = await store.lock_attempt(connection, agent, lease.task_id)
            if task is None or task.epoch != lease.epoch:
                return Receipt(lease, accepted=False, reason=LEASE_LOST)
            if task.state is not TaskState.RUNNING:
                repeated = _is_repeat(task, outcome)
                return Receipt(lease, repeated, "" if repeated else LEASE_LOST)
            await self._apply(connection, task, outcome)
            return Receipt(lease, accepted=True)

        return await self._database.transaction(work)

    async def reap(self) -> int:
        """Take lapsed leases away, a bounded number at a time, and return how many."""

        async def work(connection: AsyncConnection) -> int:
            tasks = await store.reap(connection, most=_REAP_AT_A_TIME)
            await self._announce(connection, tasks)
            for tenant, capability in {(task.tenant, task.capability) for task in tasks}:
                await queue.announce_work(connection, tenant, capability)
            return len(tasks)

        return await self._database.transaction(work)

    async def due(self) -> list[tuple[str, str]]:
        """Return tenant and capability of tasks that wait to be tried again and now may be."""
        return await self._database.transaction(store.list_due)

    async def _apply(self, connection: AsyncConnection, task: Task, outcome: Outcome) -> None:
        match outcome:
            case Progress():
                await store.save_progress(connection, task, outcome)
            case Completed():
                ended = await store.succeed(connection, task, outcome.result)
                await self._announce(connection, [ended])
            case Failed(error, retryable) if retryable and task.attempt < task.max_attempts:
                delay = self._retries.delay(task.attempt)
                await store.requeue(connection, task, error, delay=delay)
            case Failed(error):
                await self._announce(connection, [await store.fail(connection, task, error)])
            case Released():
                await store.release(connection, task)
                await queue.announce_work(connection, task.tenant, task.capability)

    async def _announce(self, connection: AsyncConnection, tasks: Sequence[Task]) -> None:
        ended = [task_finished(task, self._ids) for task in tasks if task.state in TERMINAL]
        await outbox.append(connection, ended)


def _is_repeat(task: Task, outcome: Outcome) -> bool:
    """Tell whether `outcome` is what brought the task, at this epoch, to where it is."""
    match outcome:
        case Completed():
            return task.state is TaskState.SUCCEEDED
        case Failed():
            return task.state in (TaskState.FAILED, TaskState.QUEUED) and task.error is not None
        case Released():
            return task.state is TaskState.QUEUED and task.error is None
        case _:
            return False
