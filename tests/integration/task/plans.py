"""What a store function has PostgreSQL do: its statements, caught on their way and explained."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from asyncpg.connection import LoggedQuery
from sqlalchemy import event

Statement = tuple[str, Sequence[Any]]

BIG = frozenset({"tasks", "finished_tasks", "task_events", "task_terms"})
"""The tables that grow with the work."""

# The driver asks once for the types it meets.
_OF_DRIVER = "typeinfo_tree"
_NO_PLAN = ("SELECT set_config", "SET ", "BEGIN", "ROLLBACK", "COMMIT", "SAVEPOINT", "RELEASE")


@dataclass(frozen=True)
class Cost:
    """What one statement read of the big tables.

    Attributes:
        scans: How each was scanned: kind of scan and table.
        rows: Rows looked at, passed or not.
        blocks: Blocks touched, of whatever table.
    """

    statement: str
    scans: frozenset[tuple[str, str]]
    rows: float
    blocks: int


async def statements_of(
    connection: Any, work: Callable[[], Awaitable[Any]], *, through: Any = None
) -> list[Statement]:
    """Do something within a transaction, and undo it; return the statements it sent.

    They are sent over a raw connection, and `through` SQLAlchemy's around it, if given.
    """
    caught: list[Statement] = []

    def catch_raw(query: LoggedQuery) -> None:
        if _OF_DRIVER not in query.query:
            caught.append((query.query, query.args or ()))

    def catch(_conn: Any, _cursor: Any, query: str, arguments: Any, *_: Any) -> None:
        caught.append((query, arguments))

    savepoint = connection.transaction()
    await savepoint.start()
    if through is not None:
        event.listen(through.sync_connection, "before_cursor_execute", catch)
    with connection.query_logger(catch_raw):
        await work()
    if through is not None:
        event.remove(through.sync_connection, "before_cursor_execute", catch)
    await savepoint.rollback()
    return caught


async def costs_of(connection: Any, statements: Sequence[Statement], *, mode: str) -> list[Cost]:
    """Run statements again within a transaction, planned in this mode; and undo them."""
    costs = []
    savepoint = connection.transaction()
    await savepoint.start()
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    for number, (query, arguments) in enumerate(statements):
        if query.lstrip().startswith(_NO_PLAN):
            await connection.fetch(query, *arguments)
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            continue
        name = f"explained_{number}"
        await connection.execute(f"PREPARE {name} AS {query}")
        given = f"({', '.join(map(_literal, arguments))})" if arguments else ""
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {name}{given}"
        )
        await connection.execute(f"DEALLOCATE {name}")
        # SQLAlchemy's connections decode JSON by themselves.
        plans = json.loads(explained) if isinstance(explained, str) else explained
        costs.append(_cost(query, plans[0]["Plan"]))
    await savepoint.rollback()
    return costs


def _cost(query: str, plan: dict[str, Any]) -> Cost:
    scans = [node for node in _nodes(plan) if node.get("Relation Name") in BIG]
    scans = [node for node in scans if node["Node Type"] != "ModifyTable"]
    return Cost(
        query,
        frozenset((node["Node Type"], node["Relation Name"]) for node in scans),
        sum(_rows(node) for node in scans),
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return "'" + _text(value).replace("'", "''") + "'"


def _text(value: Any) -> str:
    match value:
        case bytes():
            return "\\x" + value.hex()
        case datetime():
            return value.isoformat()
        case list() | tuple() | set():
            return "{" + ",".join(map(_element, value)) + "}"
        case UUID() | str() | int() | float() | Decimal():
            return str(value)
        case _:
            raise TypeError(f"no literal for {value!r}")


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    return '"' + _text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
