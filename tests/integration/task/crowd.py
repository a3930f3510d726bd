"""A crowd of tasks: 100,000 queued and 100,000 finished ones, made within seconds by SQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.task.domain.terms import terms_of_given

QUEUED = 100_000
FINISHED = 100_000
RUNNING = 300
CHILDREN = 3_000

_MAKE_ID = """
    CREATE FUNCTION pg_temp.made(kind integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(kind), 8, '0') || '000070008000' || lpad(to_hex(n), 12, '0'))::uuid
    $$
"""

_LANES = """
    INSERT INTO lanes (tenant, capability, priority, placement, fairness_key, bucket, weight)
    SELECT 'acme', 'text.count', n % 3, '', 'key ' || n, -1, 1 FROM generate_series(0, 99) AS n
"""

_LIVE = """
    INSERT INTO tasks (id, tenant, capability, state, priority, attempt, max_attempts, epoch,
        creator, create_time, ready_time, last_sequence, depth, agent_name, agent_id, tokens, cost,
        input, labels, attributes, lane, awaits, lease_time, due_time, blocked_by, parent_id,
        root_id)
    SELECT pg_temp.made({kind}, n), 'acme', CASE WHEN n % 1000 = 0 THEN 'text.rare' ELSE
            'text.count' END, '{state}', n % 3, 0, 3, 1, 'key:x',
        timestamptz '2026-01-01' + n * interval '1 ms', timestamptz '2026-01-01', 2, 0, '',
        {agent}, 0, 0, '', jsonb_build_object('team', 'team ' || n % 100), '{{}}', {lane}, 0,
        {due}, {due}, {blocked}, {parent}, {parent}
    FROM generate_series(1, {count}) AS n
"""

# Nearly all are of one lane, so that to the planner any lane may be nearly all.
_LANE = "CASE WHEN n % 2000 = 0 THEN 7 ELSE 100 END"

_FINISHED = """
    INSERT INTO finished_tasks (id, tenant, capability, state, priority, attempt, max_attempts,
        epoch, creator, create_time, ready_time, last_sequence, depth, agent_name, tokens, cost,
        input, labels, attributes, end_time)
    SELECT pg_temp.made(2, n), 'acme', 'text.count',
        (ARRAY['succeeded', 'failed', 'cancelled', 'dead_lettered'])[1 + n % 4], n % 3, 1, 3, 1,
        'key:x', timestamptz '2025-12-01' + n * interval '1 ms', timestamptz '2025-12-01', 3, 0,
        '', 0, 0, '', jsonb_build_object('team', 'team ' || n % 100), '{}',
        timestamptz '2025-12-02' + n * interval '1 ms'
    FROM generate_series(1, :count) AS n
"""

_EVENTS = """
    INSERT INTO task_events (task_id, tenant, sequence, type, time, state, attempt, epoch,
        agent_name, root_id)
    SELECT pg_temp.made({kind}, n), 'acme', sequence,
        CASE WHEN sequence = 3 THEN 'output' ELSE 'created' END, timestamptz '2025-12-01',
        'queued', 0, 0, '', {root}
    FROM generate_series(1, {count}) AS n, generate_series(1, {each}) AS sequence
"""

_TERMS = """
    INSERT INTO task_terms (term, create_time, task_id)
    SELECT (CAST(:terms AS bigint[]))[1 + substr(labels ->> 'team', 6)::integer], create_time, id
    FROM {table}
"""


def made(kind: int, number: int) -> UUID:
    """Return an id: 1 of a queued task, 2 finished, 3 running, 4 due, 5 behind a limit, 6 child."""
    return UUID(f"{kind:08x}000070008000{number:012x}")


ROOT = made(1, 1)


async def gather(connection: Any) -> None:
    """Make them all."""
    await connection.execute(text(_MAKE_ID))
    await connection.execute(text(_LANES))
    parent = f"'{ROOT}'::uuid"
    for kind, state, count, agent, due, blocked, root in (
        (1, "queued", QUEUED, "NULL", "NULL", "NULL", "NULL::uuid"),
        (
            3,
            "running",
            RUNNING,
            "gen_random_uuid()",
            "now() + interval '1 hour'",
            "NULL",
            "NULL::uuid",
        ),
        (4, "scheduled", RUNNING, "NULL", "timestamptz '2026-01-01'", "NULL", "NULL::uuid"),
        (5, "queued", CHILDREN, "NULL", "NULL", "'key'", "NULL::uuid"),
        (6, "queued", CHILDREN, "NULL", "NULL", "NULL", parent),
    ):
        agent = agent if agent != "NULL" else "NULL::uuid"  # noqa: PLW2901 - typed
        values = {"agent": agent, "due": f"CAST({due} AS timestamptz)", "blocked": blocked}
        await connection.execute(
            text(
                _LIVE.format(kind=kind, state=state, count=count, parent=root, lane=_LANE, **values)
            )
        )
    await connection.execute(text(_FINISHED), {"count": FINISHED})
    for kind, count, each, root in (
        (2, FINISHED // 3, 3, "NULL::uuid"), (6, CHILDREN, 2, parent),
    ):  # fmt: skip
        await connection.execute(text(_EVENTS.format(kind=kind, count=count, each=each, root=root)))
    terms = [next(terms_of_given("acme", {"team": f"team {n}"}, None)) for n in range(100)]
    await connection.execute(text(_TERMS.format(table="tasks")), {"terms": terms})
