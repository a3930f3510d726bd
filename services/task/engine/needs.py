"""What operations need to have read, and locked, before they change anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from services.task.domain.task import NewTask


@dataclass(slots=True)
class Needs:
    """What a round of operations asks for, all together.

    Attributes:
        tasks: To be locked if they have not ended, and found otherwise.
        trees: Tasks whose unfinished descendants are needed.
        dependents: Tasks whose dependents are needed.
        limits: Tenant and key of limits.
        new_limits: Whether those that there are not are to be made.
        members: Limits whose oldest members are needed, and how many.
        waiting: Limits behind which the next tasks are needed.
        pauses: Ids of pauses.
        budgets_of: Tasks whose roots' budgets are needed.
        requests: New tasks that may be repeats: tenant, id and task.
        due: Most tasks to be looked at because it is time.
        due_limits: Most limits to be looked at because it is time.
        again: Whether what is to be made may have been made already.
    """

    tasks: set[UUID] = field(default_factory=set)
    trees: set[UUID] = field(default_factory=set)
    dependents: set[UUID] = field(default_factory=set)
    limits: set[tuple[str, str]] = field(default_factory=set)
    new_limits: bool = False
    members: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: set[tuple[str, str]] = field(default_factory=set)
    pauses: set[UUID] = field(default_factory=set)
    budgets_of: set[UUID] = field(default_factory=set)
    requests: list[tuple[str, UUID, NewTask]] = field(default_factory=list)
    due: int = 0
    due_limits: int = 0
    again: bool = False
