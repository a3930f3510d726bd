"""Tasks as this replica's own transactions left them, so that they need not be read again.

To read a task takes longer than all that is then done with it. A row's `xmin` names the
transaction that wrote it: while that is the one this replica remembers, the task in memory
is the row. It is looked at when the row is locked, so whatever others do to it meanwhile,
another replica or another statement, is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple
from uuid import UUID

from services.task.domain.task import Task

_MOST: Final = 10_000
# Of what callers and handlers gave. What is large is remembered by the database alone.
_MOST_BYTES: Final = 4096
_MOST_VALUES: Final = 16

Version = tuple[UUID, int]
"""Id of a task, and the transaction that wrote its row."""


class _Memory(NamedTuple):
    xid: int
    task: Task
    whole: bool


class Remembered:
    """Up to 10,000 tasks, those written last.

    Attributes:
        serves_claims: Whether most of what was last claimed was here.
    """

    def __init__(self) -> None:
        self.serves_claims = True
        self._memories: dict[UUID, _Memory] = {}

    def has_any(self, ids: Collection[UUID]) -> bool:
        """Tell whether any of these tasks may be here."""
        return not self._memories.keys().isdisjoint(ids)

    def recall(self, version: Version) -> tuple[Task, bool] | None:
        """Return a task if it is as its row, for the caller to change, and whether it is whole.

        It is forgotten here, until it is written again.
        """
        task_id, xid = version
        memory = self._memories.pop(task_id, None)
        if memory is None or memory.xid != xid:
            return None
        # Whoever was given the one that is here goes on reading it.
        return memory.task.copy(), memory.whole

    def learn_of_claim(self, ids: Collection[UUID]) -> None:
        """Note which tasks were claimed without a look here."""
        known = sum(task_id in self._memories for task_id in ids)
        self.serves_claims = 2 * known >= len(ids)

    def keep(self, xid: int, tasks: Iterable[Task], whole: Collection[UUID]) -> None:
        """Remember tasks that a transaction wrote, which is committed.

        Args:
            xid: Of the transaction, as `xmin` shows it.
            tasks: Each as it was written last.
            whole: Those that have what their callers gave.
        """
        for task in tasks:
            self._memories.pop(task.id, None)
            if _is_small(task):
                self._memories[task.id] = _Memory(xid, task, task.id in whole)
        while len(self._memories) > _MOST:
            del self._memories[next(iter(self._memories))]

    def forget(self) -> None:
        """Forget all: the connection is another, or a transaction came to nothing."""
        self._memories.clear()


def _is_small(task: Task) -> bool:
    parts = (task.input, task.input_payload, task.checkpoint, task.answer, task.pause)
    size = sum(len(part) for part in parts if part)
    return size <= _MOST_BYTES and len(task.labels) + len(task.attributes) <= _MOST_VALUES
