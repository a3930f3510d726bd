"""The reference: what may happen to tasks, written down a second time and as plainly as possible.

It replays the engine's log of events and objects to any that could not follow from
what was before: a second end, an attempt too many, a start that nobody was free for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from services.task.domain.policy import Policy
from services.task.domain.task import Agent, NewTask

LIVE: Final = ("scheduled", "queued", "running", "paused")
ENDS: Final = ("succeeded", "failed", "cancelled", "dead_lettered")

# Event, the states before it, the states after it, and what it does to the number of attempts.
_STEPS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], int]]] = {
    "created": (("",), ("scheduled", "queued"), 0),
    "queued": (("scheduled",), ("queued",), 0),
    "started": (("queued",), ("running",), 1),
    "progressed": (("running",), ("running",), 0),
    "output": (("running",), ("running",), 0),
    "cancel_requested": (("running",), ("running",), 0),
    "retrying": (("running",), ("queued", "scheduled"), 0),
    "released": (("running",), ("queued",), -1),
    "paused": (("running",), ("paused",), 0),
    "resumed": (("paused",), ("queued",), -1),
    "updated": (LIVE, LIVE, 0),
    "succeeded": (("running",), ("succeeded",), 0),
    "dead_lettered": (("running",), ("dead_lettered",), 0),
    "failed": (LIVE, ("failed",), 0),
    "cancelled": (LIVE, ("cancelled",), 0),
}


@dataclass
class Worker:
    """An agent, and whether it is given tasks now."""

    agent: Agent
    slots: int
    open: bool = True


@dataclass
class Known:
    """A task as the reference knows it."""

    id: UUID
    new: NewTask
    max_attempts: int
    state: str = ""
    attempt: int = 0
    epoch: int = 0
    sequence: int = 0
    agent_id: UUID | None = None
    cancel_asked: bool = False

    @property
    def policy(self) -> Policy:
        """What its creator asked for."""
        return self.new.policy

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVE

    @property
    def lease(self) -> tuple[UUID, int]:
        """The lease of its attempt."""
        return self.id, self.epoch


@dataclass
class Reference:
    """All tasks that were acknowledged, and all agents that ever were."""

    tasks: dict[UUID, Known] = field(default_factory=dict)
    workers: dict[UUID, Worker] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    leases: list[tuple[UUID, int, UUID]] = field(default_factory=list)

    def expect(self, task_id: UUID, new: NewTask) -> None:
        """Note that a task was acknowledged."""
        assert task_id not in self.tasks, "an id was given twice"
        self.tasks[task_id] = Known(task_id, new, new.max_attempts)

    def define_limits(self, new: NewTask) -> None:
        """Note what a creation that may have been accepted says of limits."""
        for limit in new.policy.concurrency_limits:
            known = self.places.get(limit.key, 0)
            # Within a step either definition may be the one in force.
            self.places[limit.key] = max(known, limit.limit)

    def running(self, agent_id: UUID) -> int:
        """Return how many tasks run with an agent."""
        return sum(
            task.state == "running" and task.agent_id == agent_id for task in self.tasks.values()
        )

    def taken(self, key: str) -> int:
        """Return how many tasks that name a limit run."""
        return sum(
            task.state == "running" and key in task.policy.limit_keys
            for task in self.tasks.values()
        )

    def holds(self, task_id: UUID, epoch: int, agent_id: UUID) -> bool:
        """Tell whether an agent holds this lease."""
        task = self.tasks.get(task_id)
        if task is None or task.state != "running":
            return False
        return (task.epoch, task.agent_id) == (epoch, agent_id)

    def replay(self, event: Any, *, free: set[UUID]) -> None:
        """Take an event of the log, or object; `free` are the agents that may get tasks."""
        task = self.tasks.get(event.task_id)
        assert task is not None, f"an event of a task that was never acknowledged: {event}"
        assert event.sequence == task.sequence + 1, f"a gap or a repeat in a history: {event}"
        assert task.state not in ENDS, f"{event.type} after {task.state}: {task}"
        before, after, attempts = _STEPS[event.type]
        assert task.state in before, f"{event.type} in {task.state}: {task}"
        assert event.state in after, f"{event.type} led to {event.state}: {task}"
        assert event.attempt == task.attempt + attempts, f"attempts after {event.type}: {event}"
        assert event.attempt <= task.max_attempts, f"an attempt too many: {event}"
        self._check_epoch(task, event)
        if event.type == "started":
            self._check_start(task, event, free)
        if event.type == "retrying":
            assert event.attempt < task.max_attempts, f"a retry too many: {event}"
        if event.type == "updated":
            assert event.state == task.state
        task.cancel_asked = event.type == "cancel_requested" or (
            task.cancel_asked and event.state == "running"
        )
        task.state, task.attempt = event.state, event.attempt
        task.epoch, task.sequence, task.agent_id = event.epoch, event.sequence, event.agent_id
        if event.type == "started":
            self.leases.append((task.id, task.epoch, event.agent_id))

    def _check_epoch(self, task: Known, event: Any) -> None:
        if event.type == "started":
            allowed: tuple[int, ...] = (task.epoch + 1,)
        elif task.state == "running" and event.type in ("retrying", *ENDS):
            # A lease that is taken away is fenced off at once.
            allowed = (task.epoch, task.epoch + 1)
        else:
            allowed = (task.epoch,)
        assert event.epoch in allowed, f"the epoch of {event} after {task}"

    def _check_start(self, task: Known, event: Any, free: set[UUID]) -> None:
        worker = self.workers.get(event.agent_id)
        assert worker is not None, f"a start with an agent that never was: {event}"
        assert event.agent_id in free, f"a start with an agent that is gone: {event}"
        assert task.new.capability in worker.agent.capabilities, f"unable: {event}"
        placement = task.policy.placement
        assert str(event.agent_id) not in placement.excluded_agent_ids, f"excluded: {event}"
        assert self.running(event.agent_id) < worker.slots, f"no free slot: {event}"
        for limit in task.policy.concurrency_limits:
            assert self.taken(limit.key) < self.places[limit.key], f"over {limit}: {event}"
