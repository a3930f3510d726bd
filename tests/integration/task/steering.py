"""What operators do in tests: pause, route, and look at queues, limits and connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import queue_service_pb2 as queue
from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1.queue_service_pb2_grpc import QueueServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.database.engine import Database
from tests.integration.task.agents import HandAgent, done
from tests.integration.task.calls import (
    create,
    create_batch,
    creation,
    get,
    seconds,
    state_of,
    waits_for,
)

# A name of types only: at run time the numbers of an enumeration are plain ones.
Strategy: TypeAlias = "policy.ConcurrencyLimit.Strategy.ValueType"


async def pause(channel: aio.Channel, **fields: Any) -> queue.Pause:
    """Pause a capability, a key or an agent."""
    request = queue.CreatePauseRequest(pause=queue.Pause(**fields))
    return await QueueServiceStub(channel).CreatePause(request)


async def resume(channel: aio.Channel, pause_id: str) -> None:
    """End a pause."""
    await QueueServiceStub(channel).DeletePause(queue.DeletePauseRequest(pause_id=pause_id))


async def pauses(channel: aio.Channel) -> list[queue.Pause]:
    """List pauses."""
    listed = await QueueServiceStub(channel).ListPauses(queue.ListPausesRequest())
    return list(listed.pauses)


async def queues(channel: aio.Channel) -> dict[str, queue.Queue]:
    """List queues, by capability."""
    listed = await QueueServiceStub(channel).ListQueues(queue.ListQueuesRequest())
    return {each.capability: each for each in listed.queues}


async def connections(channel: aio.Channel) -> list[queue.Connection]:
    """List connections."""
    listed = await QueueServiceStub(channel).ListConnections(queue.ListConnectionsRequest())
    return list(listed.connections)


async def route(
    channel: aio.Channel, current: str, ramping: str = "", percent: int = 0
) -> queue.BuildRouting:
    """Route the tasks of `text.count`."""
    routing = queue.BuildRouting(
        capability="text.count",
        current_build_id=current,
        ramping_build_id=ramping,
        ramping_percent=percent,
    )
    request = queue.SetBuildRoutingRequest(routing=routing)
    return await QueueServiceStub(channel).SetBuildRouting(request)


def limit(
    key: str, places: int = 1, strategy: Strategy = policy.ConcurrencyLimit.STRATEGY_QUEUE
) -> policy.ConcurrencyLimit:
    """Allow so many tasks of a key at a time."""
    return policy.ConcurrencyLimit(key=key, limit=places, strategy=strategy)


def rate(key: str, units: int, period: float = 1.0, *, takes: int = 1) -> policy.RateLimit:
    """Allow so many units of a key in a time."""
    return policy.RateLimit(key=key, limit=units, period=seconds(period), units=takes)


def fair(key: str, weight: float = 1.0) -> policy.Fairness:
    """Share by a key."""
    return policy.Fairness(key=key, weight=weight)


async def make(caller: TaskServiceStub, count: int, **fields: Any) -> list[str]:
    """Create so many alike tasks in one call; return their ids, in the order in which they wait."""
    results = await create_batch(caller, *(creation(**fields) for _ in range(count)))
    assert not any(result.HasField("error") for result in results), results
    return sorted(result.task_id for result in results)


async def place(caller: TaskServiceStub, **fields: object) -> str:
    """Create a task with a placement; return its id."""
    return (await create(caller, placement=policy.Placement(**fields))).id  # type: ignore[arg-type]


async def takes(agent: HandAgent, count: int = 1) -> list[str]:
    """Wait until so many tasks have been assigned; return their ids."""
    return [each.task.id for each in await agent.take(count)]


async def finish(agent: HandAgent, count: int = 1) -> list[str]:
    """Take and finish so many tasks, one after the other; return their ids."""
    finished = []
    for _ in range(count):
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        finished.append(assignment.task.id)
    return finished


async def gathered(agent: HandAgent, awhile: float = 0.3) -> list[dispatch.Assignment]:
    """Return all that an agent is given within a while."""
    loop = asyncio.get_running_loop()
    over = loop.time() + awhile
    while loop.time() < over:
        await agent.beat()
        await agent.next("pulse")
    given, agent.assigned = agent.assigned, []
    return given


async def gets_nothing(agent: HandAgent, awhile: float = 0.3) -> None:
    """Hold that an agent is given nothing for a while."""
    assert await gathered(agent, awhile) == []


async def stands(caller: TaskServiceStub, task_id: str) -> str:
    """Return the state of a task, and what it waits for: `QUEUED LIMIT`, `RUNNING`."""
    task = await get(caller, task_id)
    waits = waits_for(task)
    return state_of(task) if waits == "UNSPECIFIED" else f"{state_of(task)} {waits}"


_COUNTED = text("SELECT key, taken, members, waiting FROM limits ORDER BY key")
_TRUE = text(
    """
    SELECT member.key,
        count(*) FILTER (WHERE task.state = 'running') AS taken,
        count(*) AS members,
        count(*) FILTER (WHERE task.blocked_by = member.key) AS waiting,
        count(*) FILTER (WHERE task.id IS NULL) AS strays
    FROM limit_members AS member LEFT JOIN tasks AS task ON task.id = member.task_id
    GROUP BY member.key ORDER BY member.key
    """
)


async def limits_are_true(database: Database) -> Mapping[str, tuple[int, int, int]]:
    """Hold what limits count against what is there; return taken, members and waiting by key."""

    async def read(connection: Any) -> tuple[Any, Any]:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        counted = (await connection.execute(_COUNTED)).all()
        return counted, (await connection.execute(_TRUE)).all()

    counted, true = await database.transaction(read)
    said = {row.key: (row.taken, row.members, row.waiting) for row in counted if row.members}
    assert all((row.taken, row.waiting) == (0, 0) for row in counted if not row.members), counted
    assert said == {row.key: (row.taken, row.members, row.waiting) for row in true}
    assert not any(row.strays for row in true)
    return said
