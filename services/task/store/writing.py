"""What the engine writes: many changes of a kind in one statement, on its own raw connection.

Values travel as arrays that `unnest` makes rows of: five microseconds for a row
where a statement of its own takes a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeAlias

import asyncpg

from services.task.domain.limits import Limit
from services.task.domain.policy import policy_to_text
from services.task.domain.states import TaskState
from services.task.domain.task import Task
from services.task.store.rows import COMMON, ENDED, EVENT, GIVEN, LIVE, json_text, new_row

Connection: TypeAlias = "asyncpg.Connection"

_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("id", "parent_id", "root_id", "replay_of", "agent_id", "task_id"), "uuid"),
    **dict.fromkeys(("priority", "depth"), "smallint"),
    **dict.fromkeys(("attempt", "max_attempts", "awaits"), "integer"),
    **dict.fromkeys(("places", "taken", "members", "units", "waiting", "next_units"), "integer"),
    **dict.fromkeys(("epoch", "last_sequence", "tokens", "lane", "sequence", "turn"), "bigint"),
    **dict.fromkeys(("progress_fraction", "cost", "period"), "double precision"),
    **dict.fromkeys(("has_dependents", "has_children"), "boolean"),
    **dict.fromkeys(("labels", "attributes"), "jsonb"),
    **dict.fromkeys(("input", "input_payload", "result", "result_payload", "data"), "bytea"),
    **dict.fromkeys(("checkpoint", "answer", "pause"), "bytea"),
}


def _type(column: str) -> str:
    if column.endswith("_time") or column in ("time", "cancel_by", "paused_until"):
        return "timestamptz"
    return _TYPES.get(column, "text")


_Get = Callable[[Any], Any]
_RUNNING: Final = TaskState.RUNNING

_SPECIAL: Final[Mapping[str, _Get]] = {
    "policy": lambda task: policy_to_text(task.policy),
    "labels": lambda item: json_text(item.labels),
    "attributes": lambda item: json_text(item.attributes),
    "progress_fraction": lambda item: item.progress.fraction if item.progress else None,
    "progress_message": lambda item: item.progress.message if item.progress else None,
    "error_type": lambda item: item.error.type if item.error else None,
    "error_message": lambda item: item.error.message if item.error else None,
}


class Columns:
    """Some columns of a table: as SQL, and as arrays of the values of many objects."""

    def __init__(self, names: Sequence[str], **special: _Get) -> None:
        self.names = tuple(names)
        self.list = ", ".join(names)
        self.unnest = (
            "unnest("
            + ", ".join(f"${n}::{_type(name)}[]" for n, name in enumerate(names, start=1))
            + f") AS given ({self.list})"
        )
        self._getters = [
            special.get(name) or _SPECIAL.get(name) or attrgetter(name) for name in names
        ]

    def records(self, items: Iterable[Any]) -> list[tuple[Any, ...]]:
        """Return one row of values for each item."""
        columns = self.arrays(items)
        return list(zip(*columns, strict=True))

    def arrays(self, items: Iterable[Any]) -> list[list[Any]]:
        """Return one list for each column, with the value of each item."""
        items = list(items)
        return [list(map(getter, items)) for getter in self._getters]


# ruff: noqa: S608 - every statement is made of the names of tables and columns above
# New rows go in by COPY: of an array the driver asks of each element whether it is an array too,
# which takes longer than to send it.
_NEW: Final = (*COMMON, *GIVEN, *LIVE)

_FIXED: Final = (
    "id", "tenant", "capability", "creator", "create_time", "parent_id", "root_id", "depth",
    "replay_of",
)  # fmt: skip
_MUTABLE: Final = tuple(name for name in COMMON if name not in _FIXED)

# One that has ended since is written as running, until it moves to the finished ones.
_CHANGED = Columns(
    ("id", *_MUTABLE, *LIVE), state=lambda task: _RUNNING if task.is_done else task.state
)
_UPDATE: Final = (
    "UPDATE tasks SET "
    + ", ".join(f"{name} = given.{name}" for name in (*_MUTABLE, *LIVE))
    + f" FROM {_CHANGED.unnest} WHERE tasks.id = given.id"
)

_STARTS = Columns(
    ("id", "epoch", "attempt", "last_sequence", "agent_id", "agent_name", "due_time"),
    # Few are due before their leases lapse, and a time takes long to send.
    due_time=lambda task: None if task.due_time == task.lease_time else task.due_time,
)
_START_TIME, _LEASE_TIME = (f"${len(_STARTS.names) + n}::timestamptz" for n in (1, 2))
_START: Final = (
    "UPDATE tasks SET state = 'running', epoch = given.epoch, attempt = given.attempt,"
    " last_sequence = given.last_sequence, agent_id = given.agent_id,"
    f" agent_name = given.agent_name, start_time = {_START_TIME}, seen_time = {_START_TIME},"
    f" lease_time = {_LEASE_TIME}, due_time = coalesce(given.due_time, {_LEASE_TIME}),"
    " progress_fraction = NULL, progress_message = NULL"
    f" FROM {_STARTS.unnest} WHERE tasks.id = given.id"
)

_GIVEN = Columns(("id", "labels", "attributes"))
_UPDATE_GIVEN: Final = (
    "UPDATE tasks SET labels = coalesce(given.labels, tasks.labels),"
    " attributes = coalesce(given.attributes, tasks.attributes)"
    f" FROM {_GIVEN.unnest} WHERE tasks.id = given.id"
)

# The row moves within the database: what the caller gave need not travel.
_ENDING: Final = (
    "state", "epoch", "last_sequence", "error_type", "error_message", "tokens", "cost", *ENDED,
)  # fmt: skip
_ENDINGS = Columns(("id", *_ENDING))
_KEPT: Final = tuple(name for name in (*COMMON, *GIVEN) if name not in _ENDING)
_END: Final = (
    "WITH ended AS (DELETE FROM tasks USING "
    + _ENDINGS.unnest
    + " WHERE tasks.id = given.id RETURNING "
    + ", ".join((*(f"tasks.{name}" for name in _KEPT), *(f"given.{name}" for name in _ENDING)))
    + f") INSERT INTO finished_tasks ({', '.join((*_KEPT, *_ENDING))})"
    f" SELECT {', '.join((*_KEPT, *_ENDING))} FROM ended"
)

_BORN_ENDED = Columns((*COMMON, *GIVEN, *ENDED))


_LIMITS = Columns(
    ("tenant", "key", "places", "strategy", "taken", "members", "units", "period", "full_time",
     "waiting", "next_units", "paused_until", "turn", "due_time")
)  # fmt: skip
_UPSERT_LIMITS: Final = (
    f"INSERT INTO limits ({_LIMITS.list}) SELECT {_LIMITS.list} FROM {_LIMITS.unnest}"
    " ON CONFLICT (tenant, key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _LIMITS.names[2:])
)

_NOTIFY: Final = (
    "SELECT pg_current_xact_id()::xid, pg_notify(channel, payload)"
    " FROM unnest($1::text[], $2::text[]) AS notices (channel, payload)"
)


async def insert_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Store new, unfinished tasks."""
    await connection.copy_records_to_table("tasks", records=map(new_row, tasks), columns=_NEW)


async def insert_ended(connection: Connection, tasks: Sequence[Task]) -> None:
    """Store tasks that ended in the transaction that made them."""
    await connection.copy_records_to_table(
        "finished_tasks", records=_BORN_ENDED.records(tasks), columns=_BORN_ENDED.names
    )


async def start_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Store that queued tasks, locked by this transaction, now run; all from the same time on."""
    first = tasks[0]
    await connection.execute(_START, *_STARTS.arrays(tasks), first.start_time, first.lease_time)


async def update_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Store all that may have changed of tasks that are locked by this transaction."""
    await connection.execute(_UPDATE, *_CHANGED.arrays(tasks))


async def update_given(connection: Connection, given: Sequence[Any]) -> None:
    """Store changed labels and attributes of tasks that are locked by this transaction."""
    await connection.execute(_UPDATE_GIVEN, *_GIVEN.arrays(given))


async def end_tasks(connection: Connection, tasks: Sequence[Task]) -> None:
    """Move tasks that are locked by this transaction to the finished ones."""
    await connection.execute(_END, *_ENDINGS.arrays(tasks))


async def insert_events(connection: Connection, events: Sequence[tuple[Any, ...]]) -> None:
    """Add to the log, in this order; each event as `rows.event_row` makes it."""
    await connection.copy_records_to_table("task_events", records=events, columns=EVENT)


async def save_limits(connection: Connection, limits: Sequence[tuple[Limit, Any]]) -> None:
    """Store limits, each with the time at which it is to be looked at."""
    rows = [limit for limit, _ in limits]
    arrays = Columns(_LIMITS.names[:-1]).arrays(rows)
    await connection.execute(_UPSERT_LIMITS, *arrays, [due for _, due in limits])


async def notify(connection: Connection, notices: Sequence[tuple[str, str]]) -> int:
    """Tell every replica, at the commit; return the transaction, as `xmin` of its rows shows it."""
    channels, payloads = zip(*notices, strict=True)
    # All rows: each is a notification, sent when it is fetched.
    rows = await connection.fetch(_NOTIFY, list(channels), list(payloads))
    xid: int = rows[0][0]
    return xid
