"""The terms of tasks in the database: written with the tasks, on the engine's connection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.task.domain.task import Task
from services.task.domain.terms import terms_of, terms_of_given
from services.task.store.writing import Connection

_INSERT: Final = """
    INSERT INTO task_terms (term, create_time, task_id)
    SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[])
    ON CONFLICT DO NOTHING
"""

_DELETE: Final = """
    DELETE FROM task_terms USING unnest($1::bigint[], $2::timestamptz[], $3::uuid[])
        AS given (term, create_time, task_id)
    WHERE task_terms.term = given.term AND task_terms.create_time = given.create_time
        AND task_terms.task_id = given.task_id
"""

_GIVEN: Final = """
    SELECT id, tenant, create_time, labels, attributes FROM tasks WHERE id = ANY($1::uuid[])
"""

Term = tuple[int, datetime, UUID]


async def insert_terms(connection: Connection, tasks: Sequence[Task]) -> None:
    """Have new tasks found by their terms."""
    await connection.copy_records_to_table(
        "task_terms",
        records=[
            (term, task.create_time, task.id) for task in tasks for term in set(terms_of(task))
        ],
        columns=("term", "create_time", "task_id"),
    )


async def renew_terms(connection: Connection, given: Sequence[Any]) -> None:
    """Have tasks found by the labels and attributes they get, before these are stored."""
    by_id = {each.id: each for each in given}
    gone: set[Term] = set()
    new: set[Term] = set()
    for row in await connection.fetch(_GIVEN, list(by_id)):
        each = by_id[row["id"]]
        for name, value in (("labels", each.labels), ("attributes", each.attributes)):
            if value is not None:
                gone.update(_terms(row, **{name: json.loads(row[name])}))
                new.update(_terms(row, **{name: value}))
    await _execute(connection, _DELETE, sorted(gone - new))
    await _execute(connection, _INSERT, sorted(new - gone))


async def delete_terms(connection: Connection, terms: Iterable[Term]) -> None:
    """Forget terms of tasks that are deleted."""
    await _execute(connection, _DELETE, sorted(terms))


def has_terms(task: Task) -> bool:
    """Tell whether a task has any terms."""
    return bool(task.labels or task.attributes or task.replay_of is not None)


def _terms(row: Any, *, labels: Any = None, attributes: Any = None) -> Iterable[Term]:
    for term in terms_of_given(row["tenant"], labels, attributes):
        yield term, row["create_time"], row["id"]


async def _execute(connection: Connection, statement: str, terms: Sequence[Term]) -> None:
    if terms:
        await connection.execute(statement, *map(list, zip(*terms, strict=True)))
