"""Deletes what is too old, in short transactions that hold few rows and wait for nobody."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.blobs import uses
from services.task.blobs.payloads import blob_named
from services.task.domain.states import TaskState
from services.task.domain.terms import terms_of_given
from services.task.store.paths import EARLIEST
from services.task.store.planning import pin_plans
from services.task.store.rows import json_value
from services.task.store.terms import delete_terms

_MOST_EVENTS: Final = 5000
_FIRST_ID: Final = UUID(int=0)
# A payload that names a blob is smaller; one that is larger holds its data itself.
_MOST_NAMING: Final = 2048

_TIME: Final = TIMESTAMP(timezone=True)
_IDS: Final = bindparam("ids", type_=ARRAY(Uuid))

# ruff: noqa: S608 - the names are the tables' own
_EXPIRED: Final = text(
    f"""
    SELECT id, tenant, create_time, end_time, replay_of, labels, attributes,
        CASE WHEN octet_length(input_payload) < {_MOST_NAMING} THEN input_payload END
            AS input_payload,
        CASE WHEN octet_length(result_payload) < {_MOST_NAMING} THEN result_payload END
            AS result_payload
    FROM finished_tasks
    WHERE state = :state AND (end_time, id) > (:time, :id)
        AND end_time <= now() - make_interval(secs => :keep)
    ORDER BY end_time, id LIMIT :most
    FOR UPDATE SKIP LOCKED
    """
).bindparams(
    bindparam("state", type_=Text), bindparam("time", type_=_TIME), bindparam("id", type_=Uuid)
)
_NEEDED: Final = text(
    """
    SELECT given.id FROM unnest(:ids) AS given (id)
    WHERE EXISTS (SELECT FROM tasks WHERE tasks.root_id = given.id) OR EXISTS (
        SELECT FROM task_dependencies
        JOIN tasks ON tasks.id = task_dependencies.task_id
        WHERE task_dependencies.depends_on = given.id
    )
    """
).bindparams(_IDS)
_DELETE_EVENTS: Final = text(
    f"""
    WITH gone AS (
        DELETE FROM task_events WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM task_events WHERE task_id = ANY(:ids) LIMIT {_MOST_EVENTS}
        ))
        RETURNING position
    )
    SELECT count(*) AS count, max(position) AS last FROM gone
    """
).bindparams(_IDS)
_RAISE_FLOOR: Final = text("UPDATE task_log SET floor = :floor WHERE floor < :floor")
_DELETES: Final = tuple(
    text(f"DELETE FROM {table} WHERE {column} = ANY(:ids)").bindparams(_IDS)
    for table, column in (
        ("task_requests", "task_id"),
        ("task_dependencies", "task_id"),
        ("task_dependencies", "depends_on"),
        ("budgets", "root_id"),
        ("finished_tasks", "id"),
    )
)

_OLD_OUTPUT: Final = text(
    """
    SELECT task_id, sequence, time, position FROM task_events
    WHERE type = 'output' AND (time, position) > (:time, :position)
        AND time <= now() - make_interval(secs => :keep)
    ORDER BY time, position LIMIT :most
    FOR UPDATE SKIP LOCKED
    """
).bindparams(bindparam("time", type_=_TIME))
_KEPT_OUTPUT: Final = text(
    """
    SELECT id FROM tasks WHERE id = ANY(:ids)
    UNION ALL
    SELECT id FROM finished_tasks
    WHERE id = ANY(:ids) AND end_time > now() - make_interval(secs => :keep)
    """
).bindparams(_IDS)
_DELETE_OUTPUT: Final = text(
    """
    DELETE FROM task_events USING unnest(:ids, :sequences) AS given (task_id, sequence)
    WHERE task_events.task_id = given.task_id AND task_events.sequence = given.sequence
    """
).bindparams(_IDS, bindparam("sequences", type_=ARRAY(BigInteger)))


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where the deletion of tasks is, in the order of their ends."""

    time: datetime = EARLIEST
    id: UUID = _FIRST_ID


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """Where the deletion of output is, in its order."""

    time: datetime = EARLIEST
    position: int = 0


@dataclass(frozen=True, slots=True)
class TasksStep:
    """How many tasks a step deleted, and where to go on; None at the end."""

    deleted: int
    place: TaskPlace | None


@dataclass(frozen=True, slots=True)
class OutputStep:
    """How many pieces of output a step deleted, and where to go on; None at the end."""

    deleted: int
    place: OutputPlace | None


async def delete_tasks(
    connection: AsyncConnection, state: TaskState, keep: float, after: TaskPlace, most: int
) -> TasksStep:
    """Delete tasks that reached a state more than `keep` seconds ago, with all that is theirs.

    Those are left that an unfinished task depends on, or is under, or that another
    replica deletes at this moment. A task with a long history takes several steps.
    """
    await pin_plans(connection)
    parameters = {"state": state.value, "keep": keep, "time": after.time, "id": after.id}
    found = (await connection.execute(_EXPIRED, {**parameters, "most": most})).mappings().all()
    if not found:
        return TasksStep(0, None)
    needed = set((await connection.execute(_NEEDED, {"ids": _ids(found)})).scalars())
    doomed = [row for row in found if row["id"] not in needed]
    if doomed and not await _delete_events(connection, _ids(doomed)):
        return TasksStep(0, after)
    if doomed:
        await _delete_rows(connection, doomed)
    last = found[-1]
    return TasksStep(len(doomed), TaskPlace(last["end_time"], last["id"]))


async def delete_output(
    connection: AsyncConnection, keep: float, after: OutputPlace, most: int
) -> OutputStep:
    """Delete the output of tasks that ended more than `keep` seconds ago."""
    await pin_plans(connection)
    parameters = {"keep": keep, "time": after.time, "position": after.position, "most": most}
    found = (await connection.execute(_OLD_OUTPUT, parameters)).all()
    if not found:
        return OutputStep(0, None)
    ids = {"ids": list({row.task_id for row in found})}
    kept = set((await connection.execute(_KEPT_OUTPUT, {**ids, "keep": keep})).scalars())
    doomed = [row for row in found if row.task_id not in kept]
    if doomed:
        await connection.execute(
            _DELETE_OUTPUT,
            {
                "ids": [row.task_id for row in doomed],
                "sequences": [row.sequence for row in doomed],
            },
        )
    return OutputStep(len(doomed), OutputPlace(found[-1].time, found[-1].position))


async def _delete_events(connection: AsyncConnection, ids: Collection[UUID]) -> bool:
    """Delete events of tasks; tell whether there are no more."""
    row: Any = (await connection.execute(_DELETE_EVENTS, {"ids": list(ids)})).one()
    if row.last is not None:
        await connection.execute(_RAISE_FLOOR, {"floor": row.last})
    return bool(row.count < _MOST_EVENTS)


async def _delete_rows(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    for statement in _DELETES:
        await connection.execute(statement, {"ids": _ids(rows)})
    raw = (await connection.get_raw_connection()).driver_connection
    await delete_terms(
        raw,
        {
            (term, row["create_time"], row["id"])
            for row in rows
            for term in terms_of_given(
                row["tenant"],
                json_value(row["labels"]),
                json_value(row["attributes"]),
                row["replay_of"],
            )
        },
    )
    named = (blob_named(row[name]) for row in rows for name in ("input_payload", "result_payload"))
    await uses.forget(raw, [blob_id for blob_id in named if blob_id is not None])


def _ids(rows: Sequence[Any]) -> list[UUID]:
    return [row["id"] for row in rows]
