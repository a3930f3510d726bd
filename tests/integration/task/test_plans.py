"""Plans at 100,000 queued and 100,000 finished tasks: statements read a bounded number of rows.

Each is run as the code runs it, then explained with the settings of its session,
under custom and generic plans, before the tables were analyzed and after.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from meshkit.database.engine import Database
from meshkit.testing.databases import ServiceDatabase
from services.task.domain.filters import read_filter
from services.task.domain.limits import Limit
from services.task.domain.policy import LimitStrategy
from services.task.domain.states import TaskState
from services.task.domain.task import Task
from services.task.engine import session
from services.task.store import (
    history,
    lanes,
    listing,
    loading,
    log,
    reading,
    retention,
    writing,
)
from services.task.store.paths import path_of
from services.task.store.retention import OutputPlace, TaskPlace
from services.task.store.walks import Stretch
from tests.integration.task import crowd
from tests.integration.task.crowd import made
from tests.integration.task.plans import Cost, Statement, costs_of, statements_of

MODES = ("force_custom_plan", "force_generic_plan")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BATCH = 50
PAGE = 51
WALK = 1000

# Rows may be looked at twice: in an index and by their key; and a few more at the edges.
_ROWS = 10
_BLOCKS = 30
_BLOCKS_AT_LEAST = 1000

Work = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    """Make a database with a crowd of tasks, of which nothing is known to the planner."""
    task = await service_database("task")
    await task.transaction(_fill)
    return task


async def _fill(connection: Any) -> None:
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    for table in ("tasks", "finished_tasks", "task_events", "task_terms"):
        await connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
    await crowd.gather(connection)


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Any]:
    """Connect as the engine's writer does."""
    dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn, server_settings=session._SETTINGS)
    yield connection
    await connection.close()


def _queued(count: int, kind: int = 1) -> list[Any]:
    return [made(kind, number) for number in range(1, count + 1)]


async def _whole(engine: Any, kind: int) -> list[Task]:
    return await loading.lock_tasks(engine, _queued(BATCH, kind))


async def _end(engine: Any) -> None:
    tasks = await _whole(engine, 3)
    for task in tasks:
        task.state, task.end_time = TaskState.SUCCEEDED, NOW
    await writing.end_tasks(engine, tasks)


async def _start(engine: Any) -> None:
    tasks = await loading.claim(engine, [(lane, BATCH) for lane in range(1, BATCH + 1)])
    for task in tasks:
        task.agent_id, task.start_time, task.lease_time = task.id, NOW, NOW
    await writing.start_tasks(engine, tasks)


async def _update(engine: Any) -> None:
    await writing.update_tasks(engine, await _whole(engine, 3))


_LIMIT = Limit("acme", "key")
_IN_TURN = Limit("acme", "key", strategy=LimitStrategy.ROUND_ROBIN)

OF_ENGINE: dict[str, tuple[int, Work]] = {
    "claim one lane": (BATCH, lambda c: loading.claim(c, [(7, BATCH)])),
    "claim one lane, unread": (BATCH, lambda c: loading.claim_versions(c, [(7, BATCH)])),
    "claim and start many lanes": (BATCH, _start),
    "lock": (BATCH, lambda c: loading.lock_tasks(c, _queued(BATCH))),
    "lock, unread": (BATCH, lambda c: loading.lock_versions(c, _queued(BATCH))),
    "read what was claimed": (BATCH, lambda c: loading.read_locked(c, _queued(BATCH))),
    "find finished": (BATCH, lambda c: loading.find_finished(c, _queued(BATCH, 2))),
    "update": (BATCH, _update),
    "end": (BATCH, _end),
    "due": (BATCH, lambda c: loading.lock_due(c, NOW, BATCH)),
    "dependents": (BATCH, lambda c: loading.find_dependents(c, _queued(BATCH))),
    "descendants": (crowd.CHILDREN, lambda c: loading.find_descendants(c, [crowd.ROOT], 100_000)),
    "behind a limit": (BATCH, lambda c: loading.lock_waiting(c, _LIMIT, BATCH)),
    # Takes turns among the first thousand that wait.
    "behind a limit, in turn": (WALK, lambda c: loading.lock_waiting(c, _IN_TURN, BATCH)),
    "results of dependencies": (BATCH, lambda c: loading.dependency_results(c, _queued(BATCH))),
}


def _walk(
    filter_: str = "", *, newest_first: bool = True, priority: int | None = None, most: int = PAGE
) -> Work:
    path = path_of("acme", read_filter(filter_), by_state=priority is not None)
    priorities = path.priorities if priority is None else (priority,)
    stretch = Stretch(path, priorities, newest_first, None, most)
    return lambda connection: listing.walk(connection, stretch, PAGE)


def _count(filter_: str) -> Work:
    path = path_of("acme", read_filter(filter_))
    stretch = Stretch(path, path.priorities, True, None, WALK)
    return lambda connection: listing.count_stretch(connection, stretch)


def _count_state(state: TaskState) -> Work:
    path = path_of("acme", None)
    return lambda connection: listing.count_state(connection, path, state, 100_001)


OF_POOL: dict[str, tuple[int, Work]] = {
    "list all": (PAGE, _walk()),
    "list all, oldest first": (PAGE, _walk(newest_first=False)),
    "list a priority": (PAGE, _walk(priority=2)),
    "list a priority, oldest first": (PAGE, _walk(priority=0, newest_first=False)),
    "list queued": (PAGE, _walk("state = QUEUED")),
    "list none": (PAGE, _walk("state = PAUSED")),
    "list ended": (PAGE, _walk("end_time:*")),
    "list by capability": (WALK, _walk("state = QUEUED AND capability = text.rare", most=WALK)),
    "list by agent": (WALK, _walk(f"agent_id = {crowd.ROOT} AND state = RUNNING", most=WALK)),
    "list by label": (PAGE, _walk('labels.team = "team 7"')),
    "list by label and more": (WALK, _walk('labels.team = "team 7" AND priority = 1', most=WALK)),
    "list by attribute": (PAGE, _walk("attributes.amount = 3")),
    "list by comparison of an attribute": (WALK, _walk("attributes.amount > 3", most=WALK)),
    "list a tree": (PAGE, _walk(f"root_id = {crowd.ROOT}")),
    "list children": (PAGE, _walk(f"parent_id = {crowd.ROOT}", newest_first=False)),
    "list older": (PAGE, _walk("create_time < 2025-12-01T00:00:10Z")),
    "list a range": (
        PAGE,
        _walk("create_time > 2026-01-01T00:00:10Z AND create_time < 2026-01-01T00:00:20Z"),
    ),
    "list ended before": (WALK, _walk("end_time < 2025-12-02T00:00:10Z", most=WALK)),
    "count queued": (100_001, _count_state(TaskState.QUEUED)),
    "count failed": (crowd.FINISHED // 4, _count_state(TaskState.FAILED)),
    "count by capability": (WALK, _count("capability = text.rare")),
    "count by label": (WALK, _count('labels.team = "team 7"')),
    "get": (BATCH, lambda c: reading.get_tasks(c, _queued(BATCH // 2) + _queued(BATCH // 2, 2))),
    "what is next due": (1, reading.next_due),
    "lanes that hold tasks": (100, lambda c: lanes.list_holding(c, after=0, most=100)),
    "lanes without tasks": (crowd.RUNNING, lambda c: lanes.remove_idle(c, 0.0, 100)),
    "history": (3, lambda c: history.list_events(c, made(2, 5), 0)),
    "attempts": (3, lambda c: history.list_changes(c, made(2, 5))),
    "end of the log": (1, log.last_position),
    "log": (WALK, lambda c: log.read_log(c, {"acme"}, after=50_000, upto=2**63 - 1)),
    "gap in the log": (WALK, lambda c: log.is_whole(c, after=50_000, upto=51_000)),
    "log of a tree": (
        64,
        lambda c: log.read_tree(c, crowd.ROOT, sequence=0, after=0, upto=2**63 - 1),
    ),
    "whether a tree lives": (1, lambda c: log.tree_lives(c, crowd.ROOT)),
    "delete tasks": (
        BATCH,
        lambda c: retention.delete_tasks(c, TaskState.FAILED, 1.0, TaskPlace(), BATCH),
    ),
    "delete no tasks": (
        1,
        lambda c: retention.delete_tasks(
            c, TaskState.FAILED, timedelta(days=36500).total_seconds(), TaskPlace(), BATCH
        ),
    ),
    "delete output": (BATCH, lambda c: retention.delete_output(c, 1.0, OutputPlace(), BATCH)),
}


async def test_every_statement_reads_a_bounded_number_of_rows(
    database: Database, engine: Any
) -> None:
    problems = await _problems(database, engine, "before ANALYZE")
    await database.transaction(lambda connection: connection.execute(text("ANALYZE")))
    problems += await _problems(database, engine, "after ANALYZE")
    assert not problems, "\n".join(problems)
    for cost in await _costs_of_pool(database, _count_state(TaskState.QUEUED)):
        assert cost.scans == {("Index Only Scan", "tasks")}


async def _problems(database: Database, engine: Any, when: str) -> list[str]:
    problems: list[str] = []
    for name, (asked, work) in OF_ENGINE.items():
        costs = await _costs_of_engine(engine, work)
        problems += _judged(costs, asked, f"{name}, {when}")
    for name, (asked, work) in OF_POOL.items():
        costs = await _costs_of_pool(database, work)
        problems += _judged(costs, asked, f"{name}, {when}")
    return problems


async def _costs_of_engine(engine: Any, work: Work) -> list[Cost]:
    async with engine.transaction():
        statements = await statements_of(engine, lambda: work(engine))
        return await _costs(engine, statements)


async def _costs_of_pool(database: Database, work: Work) -> list[Cost]:
    async def look(connection: Any) -> list[Cost]:
        # The driver's own transaction begins with the first statement.
        await connection.execute(text("SELECT 1"))
        raw = (await connection.get_raw_connection()).driver_connection
        statements = await statements_of(raw, lambda: work(connection), through=connection)
        return await _costs(raw, statements)

    return await database.transaction(look)


async def _costs(connection: Any, statements: Sequence[Statement]) -> list[Cost]:
    costs = [cost for mode in MODES for cost in await costs_of(connection, statements, mode=mode)]
    assert costs
    return costs


def _judged(costs: Sequence[Cost], asked: int, what: str) -> list[str]:
    return [
        f"{what}: {problem} in {' '.join(cost.statement.split())[:300]}"
        for cost in costs
        for problem in _problems_of(cost, asked)
    ]


def _problems_of(cost: Cost, asked: int) -> list[str]:
    problems = [f"{kind} of {table}" for kind, table in cost.scans if kind == "Seq Scan"]
    if cost.rows > _ROWS * asked:
        problems.append(f"{cost.rows:.0f} rows for {asked}")
    if cost.blocks > _BLOCKS * asked + _BLOCKS_AT_LEAST:
        problems.append(f"{cost.blocks} blocks for {asked}")
    return problems
