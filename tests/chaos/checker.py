"""What must be so once all is quiet: held against the databases and against what was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from agentmesh.stack.composition import database_name
from agentmesh.stack.postgres import EmbeddedPostgres
from tests.chaos.checks.books import unbalanced
from tests.chaos.checks.calls import Asked, Window, asked_by_clients, noticed, wrong_ends
from tests.chaos.checks.events import Ended, Event, Life, life_of
from tests.chaos.checks.families import outlived, started_too_early, too_many_children
from tests.chaos.checks.limits import too_many_at_a_time, too_many_in_a_time
from tests.chaos.checks.lives import wrong_life
from tests.chaos.checks.reports import seen_by_agents, unanswered_after, wrong_reports
from tests.chaos.findings import Findings
from tests.chaos.history import read_all
from tests.chaos.sdk_agent import CHILD_LABEL

_LAPSED: Final = "LeaseExpired"
_ENDED: Final = """
    SELECT id, state, attempt, max_attempts, epoch, last_sequence, parent_id FROM finished_tasks
"""
_EVENTS: Final = """
    SELECT position, task_id, sequence, type, state, attempt, epoch, time, error_type
    FROM task_events ORDER BY task_id, sequence
"""

_ANNOUNCED: Final = "SELECT task_id, count(*) FROM invocations GROUP BY task_id"


async def check(
    postgres: EmbeddedPostgres, directory: Path, faults: Sequence[Window] = ()
) -> Findings:
    """Check everything; to be called once nothing is under way.

    `faults` are the times in which a call of the SDK may have failed visibly.
    """
    findings = Findings()
    asked = asked_by_clients([*read_all(directory, "client"), *read_all(directory, "answers")])
    seen = seen_by_agents(read_all(directory, "agent"))
    connection = await postgres.connect(database_name("task"))
    try:
        ended = {row[0]: Ended(*row[1:]) for row in await connection.fetch(_ENDED)}
        live = [row["id"] for row in await connection.fetch("SELECT id FROM tasks")]
        lives, limited, resumed = await _check_log(connection, findings, asked, ended)
        await _check_families(connection, findings, asked, ended, lives)
        await _check_counters(connection, findings)
    finally:
        await connection.close()
    limited.sort(key=attrgetter("position"))
    findings.add("limits exceeded", too_many_at_a_time(limited, asked.places))
    findings.add("rates exceeded", too_many_in_a_time(limited, asked.rates))
    for what, where in (*asked.amiss.items(), *wrong_ends(asked, ended)):
        findings.add(what, where)
    for what, where in wrong_reports(seen, ended):
        findings.add(what, where)
    findings.add("tasks given without their answer", unanswered_after(seen, resumed))
    announced = await _announced(postgres)
    for what, tasks in unbalanced(asked.accepted, live, ended, announced):
        findings.add(what, tasks)
    findings.accepted, findings.tasks = len(asked.accepted), len(ended)
    findings.states = Counter(row.state for row in ended.values())
    findings.executed, findings.executions = len(seen.started), seen.started.total()
    findings.refused = seen.refused
    _count_calls(findings, asked, faults)
    return findings


def _count_calls(findings: Findings, asked: Asked, faults: Sequence[Window]) -> None:
    findings.codes, findings.unknown = asked.codes, asked.unknown
    findings.sdk_calls, findings.visible = asked.sdk_calls, len(asked.visible)
    what = "calls of the SDK that failed visibly without a fault"
    findings.noticed = findings.add(what, noticed(asked, faults))
    findings.features.update(
        {
            "limits": len(asked.places),
            "rates": len(asked.rates),
            "dependencies": len(asked.needs),
            "parents": len(asked.parents),
            "families": len(asked.family),
            "cancellations": len(asked.cancelled),
            "watched or run": len(asked.told),
        }
    )


async def _check_log(
    connection: Any, findings: Findings, asked: Asked, ended: dict[UUID, Ended]
) -> tuple[dict[UUID, Life], list[Event], dict[UUID, int]]:
    """Check each history; return the lives, what concerns limits, and epochs of resumptions."""
    async with connection.transaction():
        events = [Event(*row) async for row in connection.cursor(_EVENTS, prefetch=5000)]
    lives: dict[UUID, Life] = {}
    limited: list[Event] = []
    resumed: dict[UUID, int] = {}
    for task, group in groupby(events, key=attrgetter("task")):
        history = list(group)
        wrong = wrong_life(history, ended.get(task))
        findings.add(f"in the history of {task}", [wrong] if wrong else [])
        lives[task] = life_of(history)
        if task in asked.places or task in asked.rates:
            limited += history
        for event in history:
            _count_repeat(findings, event)
            if event.type == "resumed":
                resumed.setdefault(task, event.epoch)
    findings.add("tasks without a history", ended.keys() - lives.keys())
    return lives, limited, resumed


def _count_repeat(findings: Findings, event: Event) -> None:
    """Count what has a task executed again."""
    match event.type:
        case "retrying" | "dead_lettered":
            findings.lapsed += event.error == _LAPSED
            findings.retried += event.error != _LAPSED
        case "released":
            findings.given_back += 1
        case "resumed":
            findings.features["pauses answered"] += 1


async def _check_families(
    connection: Any,
    findings: Findings,
    asked: Asked,
    ended: dict[UUID, Ended],
    lives: dict[UUID, Life],
) -> None:
    parents = {task: row.parent for task, row in ended.items() if row.parent is not None}
    own = await connection.fetch(
        "SELECT id FROM finished_tasks WHERE labels ? $1 AND parent_id IS NOT NULL", CHILD_LABEL
    )
    findings.add("dependents that started too early", started_too_early(lives, asked.needs))
    findings.add("children that outlived their parents", outlived(lives, parents))
    children = {row["id"] for row in own}
    findings.add("children made twice", too_many_children(parents, asked.family, children))


async def _check_counters(connection: Any, findings: Findings) -> None:
    limits = await connection.fetch(
        "SELECT key, taken, members, waiting FROM limits"
        " WHERE (taken, members, waiting) <> (0, 0, 0)"
    )
    findings.add("limits whose counters are off", map(tuple, limits))
    for table in ("limit_members", "outbox", "outbox_dead"):
        count = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        findings.add(f"rows left in {table}", range(count))


async def _announced(postgres: EmbeddedPostgres) -> dict[UUID, int]:
    connection = await postgres.connect(database_name("analytics"))
    try:
        return dict(await connection.fetch(_ANNOUNCED))
    finally:
        await connection.close()
