"""What ties tasks to requests, to other tasks, to limits and to budgets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from services.task.domain.budgets import BudgetState
from services.task.domain.limits import Limit
from services.task.domain.policy import Budget, Dependency
from services.task.store.writing import Connection

_TAKE: Final = """
    INSERT INTO task_requests (tenant, request_id, task_id, digest)
    SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[])
    ON CONFLICT DO NOTHING
    RETURNING task_id
"""

_FIND: Final = """
    SELECT tenant, request_id, task_id, digest FROM task_requests
    WHERE (tenant, request_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

_DEPEND: Final = """
    INSERT INTO task_dependencies (task_id, depends_on, condition)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])
    ON CONFLICT DO NOTHING
"""

_JOIN: Final = """
    INSERT INTO limit_members (tenant, key, task_id)
    SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[])
"""

_LEAVE: Final = """
    DELETE FROM limit_members USING unnest($1::text[], $2::text[], $3::uuid[])
        AS given (tenant, key, task_id)
    WHERE (limit_members.tenant, limit_members.key, limit_members.task_id)
        = (given.tenant, given.key, given.task_id)
"""

_LOCK_BUDGETS: Final = """
    SELECT root_id, max_depth, max_tasks, max_tokens, max_cost, tasks, tokens, cost
    FROM budgets WHERE root_id = ANY($1::uuid[]) FOR UPDATE
"""

_SAVE_BUDGETS: Final = """
    INSERT INTO budgets
        (root_id, max_depth, max_tasks, max_tokens, max_cost, tasks, tokens, cost)
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[],
        $5::double precision[], $6::bigint[], $7::bigint[], $8::double precision[])
    ON CONFLICT (root_id) DO UPDATE
    SET tasks = excluded.tasks, tokens = excluded.tokens, cost = excluded.cost
"""


async def take_requests(
    connection: Connection, requests: Sequence[tuple[str, str, UUID, bytes]]
) -> set[UUID]:
    """Note which request makes which task: (tenant, request id, task id, digest).

    Returns the ids of the tasks whose request id had not been used.
    """
    rows = await connection.fetch(_TAKE, *map(list, zip(*requests, strict=True)))
    return {row["task_id"] for row in rows}


async def find_requests(
    connection: Connection, requests: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], tuple[UUID, bytes]]:
    """Return the task and the digest of each of these requests that was made before."""
    rows = await connection.fetch(_FIND, *map(list, zip(*requests, strict=True)))
    return {
        (row["tenant"], row["request_id"]): (row["task_id"], bytes(row["digest"])) for row in rows
    }


async def insert_dependencies(
    connection: Connection, dependencies: Sequence[tuple[UUID, Dependency]]
) -> None:
    """Note what each task waits for."""
    await connection.execute(
        _DEPEND,
        [task_id for task_id, _ in dependencies],
        [each.task_id for _, each in dependencies],
        [each.condition.value for _, each in dependencies],
    )


async def join_limits(connection: Connection, members: Sequence[tuple[str, str, UUID]]) -> None:
    """Note which tasks name which limits: (tenant, key, task id)."""
    await connection.execute(_JOIN, *map(list, zip(*members, strict=True)))


async def leave_limits(connection: Connection, members: Sequence[tuple[str, str, UUID]]) -> None:
    """Forget that these tasks name these limits."""
    await connection.execute(_LEAVE, *map(list, zip(*members, strict=True)))


async def lock_budgets(
    connection: Connection, roots: Collection[UUID]
) -> list[tuple[UUID, BudgetState]]:
    """Return the budgets of these root tasks, locked; of those that have one."""
    return [
        (
            row["root_id"],
            BudgetState(
                Budget(row["max_depth"], row["max_tasks"], row["max_tokens"], row["max_cost"]),
                row["tasks"],
                row["tokens"],
                row["cost"],
            ),
        )
        for row in await connection.fetch(_LOCK_BUDGETS, sorted(roots))
    ]


async def save_budgets(connection: Connection, budgets: Sequence[tuple[UUID, BudgetState]]) -> None:
    """Store budgets and what is used of them."""
    states = [state for _, state in budgets]
    await connection.execute(
        _SAVE_BUDGETS,
        [root_id for root_id, _ in budgets],
        [state.budget.max_depth for state in states],
        [state.budget.max_tasks for state in states],
        [state.budget.max_tokens for state in states],
        [state.budget.max_cost for state in states],
        [state.tasks for state in states],
        [state.tokens for state in states],
        [state.cost for state in states],
    )


_TAKE_OVER: Final = """
    UPDATE task_requests SET task_id = given.task_id, digest = given.digest
    FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[])
        AS given (tenant, request_id, task_id, digest)
    WHERE (task_requests.tenant, task_requests.request_id) = (given.tenant, given.request_id)
"""


async def take_over_requests(
    connection: Connection, requests: Sequence[tuple[tuple[str, str], tuple[UUID, bytes]]]
) -> None:
    """Note that these requests, tenant and request id, made these tasks: id and digest."""
    rows = [(*request, *made) for request, made in requests]
    await connection.execute(_TAKE_OVER, *map(list, zip(*rows, strict=True)))


_ADD_LIMITS: Final = """
    INSERT INTO limits (tenant, key, strategy, taken, members, period, waiting, turn)
    SELECT tenant, key, 'queue', 0, 0, 1, 0, 0
    FROM unnest($1::text[], $2::text[]) AS given (tenant, key)
    ON CONFLICT DO NOTHING
"""


_FORGET_LIMITS: Final = """
    DELETE FROM limits USING unnest($1::text[], $2::text[]) AS given (tenant, key)
    WHERE (limits.tenant, limits.key) = (given.tenant, given.key)
"""


async def forget_limits(connection: Connection, limits: Sequence[tuple[Limit, Any]]) -> None:
    """Delete limits, locked by this transaction, that nothing is known of any more."""
    tenants, keys = zip(*((limit.tenant, limit.key) for limit, _ in limits), strict=True)
    await connection.execute(_FORGET_LIMITS, list(tenants), list(keys))


async def add_limits(connection: Connection, keys: Collection[tuple[str, str]]) -> None:
    """Add those of the limits, tenant and key, that there are not yet."""
    tenants, names = zip(*sorted(keys), strict=True)
    await connection.execute(_ADD_LIMITS, list(tenants), list(names))


_WITHDRAW: Final = """
    DELETE FROM task_requests USING unnest($1::text[], $2::text[]) AS given (tenant, request_id)
    WHERE (task_requests.tenant, task_requests.request_id) = (given.tenant, given.request_id)
"""


async def withdraw_requests(connection: Connection, requests: Sequence[tuple[str, str]]) -> None:
    """Forget requests whose tasks were refused: (tenant, request id)."""
    await connection.execute(_WITHDRAW, *map(list, zip(*requests, strict=True)))
