"""A million tasks in a minute: rows that the service wrote, copied within the database.

Each copy has its own id and its own, earlier times; all else is as in the row it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

# A millisecond apart, in the order of their ids.
_MAKE_ID = """
    CREATE OR REPLACE FUNCTION pg_temp.made(made timestamptz, n bigint) RETURNS uuid
    LANGUAGE sql AS $$
        SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '70008000'
            || lpad(to_hex(n), 12, '0'))::uuid
    $$
"""
_EARLIER = "(1 + $2 - n) * interval '1 ms'"

# An identity, such as an event's position, is drawn anew.
_COLUMNS = """
    SELECT attname, atttypid = 'timestamptz'::regtype AS is_time FROM pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''
    ORDER BY attnum
"""

_CREATED = """
    SELECT create_time FROM tasks WHERE id = $1
    UNION ALL
    SELECT create_time FROM finished_tasks WHERE id = $1
"""

# ruff: noqa: S608 - the names are the tables' own


async def multiply(connection: Any, task_id: UUID, copies: int) -> None:
    """Copy a task with its history: queued if it is queued, finished if it is finished."""
    await connection.execute(_MAKE_ID)
    created = await connection.fetchval(_CREATED, task_id)
    for table, key in (("tasks", "id"), ("finished_tasks", "id"), ("task_events", "task_id")):
        template = f"CREATE TEMP TABLE template AS SELECT * FROM {table} WHERE {key} = '{task_id}'"
        await connection.execute(template)
        columns = await connection.fetch(_COLUMNS, table)
        await connection.execute(_copying(table, key, columns), created, copies)
        await connection.execute("DROP TABLE template")


async def settle(connection: Any) -> None:
    """Leave the tables as autovacuum would in time, and nothing to be written to disk."""
    for table in ("tasks", "finished_tasks", "task_events"):
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("CHECKPOINT")


def _copying(table: str, key: str, columns: Sequence[Any]) -> str:
    names = ", ".join(column["attname"] for column in columns)
    values = ", ".join(_value(key, *column) for column in columns)
    # `n > 0` has the rows of each copy come together.
    return f"""
        INSERT INTO {table} ({names})
        SELECT {values} FROM generate_series(1, $2::bigint) AS n
        CROSS JOIN LATERAL (SELECT * FROM template WHERE n > 0) AS template
    """


def _value(key: str, column: str, is_time: bool) -> str:
    if column == key:
        return f"pg_temp.made($1::timestamptz - {_EARLIER}, n)"
    return f"template.{column} - {_EARLIER}" if is_time else f"template.{column}"
