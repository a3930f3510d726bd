"""Nobody waits for work that is there, and nobody holds what is lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import grpc
from grpc import aio
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.errors import Unavailable
from meshkit.testing.refusals import refusal
from services.task.dispatcher import Dispatcher, Stream
from services.task.domain import Agent, Lease, RetryPolicy, Task
from services.task.store import leases
from services.task.usecases.attempts import Attempts, Outcome, Receipt
from tests.integration.replicas import RunningReplica, Stores
from tests.integration.task.agents import connected, register
from tests.integration.task.test_leases import lapse, until
from tests.integration.task.test_tasks import create, get
from tests.waiting import until as until_so

# Far less than the poll that is the net beneath: what a wake-up should take.
SOON = 3.0


async def test_the_slot_of_a_lapsed_lease_is_free_at_once(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [first] = await agent.take()
        await lapse(stores.task)
        await until(caller, task_id, task_pb2.TaskEvent.TYPE_RETRYING)
        async with asyncio.timeout(SOON):
            assert list((await agent.next("cancellations")).leases) == [first.lease]
            [second] = await agent.take()
        assert second.lease.epoch > first.lease.epoch


async def test_a_heartbeat_for_an_attempt_that_is_over_is_told_so(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=2) as agent:
        await create(caller)
        [assignment] = await agent.take()
        over = dispatch.Lease(task_id=assignment.lease.task_id, epoch=99)
        await agent.beat(assignment.lease, over)
        assert list((await agent.next("cancellations")).leases) == [over]


async def test_a_draining_replica_takes_no_new_streams(
    small_mesh: RunningReplica, channel: aio.Channel
) -> None:
    agent_id = await register(channel, "late", ["text.count"])
    await small_mesh.task.dispatcher.drain()
    call = DispatchServiceStub(channel).Dispatch()
    hello = dispatch.Hello(agent_id=agent_id, slots=1, capabilities=["text.count"])
    with refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        await call.write(dispatch.DispatchRequest(hello=hello))
        await call.read()


async def test_who_leaves_is_told_when_there_will_be_no_more(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        await agent.call.write(dispatch.DispatchRequest(leaving=dispatch.Leaving()))
        await agent.next("drain")
        task_id = (await create(caller)).id
        assert (await get(caller, task_id)).state == task_pb2.TASK_STATE_QUEUED


async def test_many_large_inputs_come_in_several_messages(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await register(channel, "hand", ["text.count"])
    for _ in range(6):
        task = task_pb2.Task(capability="text.count")
        task.input.update({"text": "x" * 900_000})
        await create(caller, input=task.input)
    async with connected(channel, "text.count", slots=6) as agent:
        assert len(await agent.take(6)) == 6


async def test_what_another_claim_had_locked_is_seen_soon(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    await register(channel, "hand", ["text.count", "text.other"])
    await create(caller, priority=9)
    other = (await create(caller, capability="text.other")).id
    locked, let_go = asyncio.Event(), asyncio.Event()

    async def elsewhere(connection: AsyncConnection) -> None:
        agent = Agent(uuid.uuid4(), "acme", "elsewhere", frozenset())
        both = ["text.count", "text.other"]
        await leases.claim(connection, agent, both, slots=1, lease=60)
        locked.set()
        await let_go.wait()

    claim = asyncio.create_task(stores.task.transaction(elsewhere))
    await locked.wait()
    async with connected(channel, "text.other") as agent:
        let_go.set()
        await claim
        async with asyncio.timeout(SOON):
            [assignment] = await agent.take()
    assert assignment.task.id == other


def stream_of(name: str) -> Stream:
    return Stream(Agent(uuid.uuid4(), "acme", name, frozenset()), ("text.count",), slots=50)


class Held(Attempts):
    """Claims of the busy agent wait; reports find the database away."""

    def __init__(self, stores: Stores) -> None:
        super().__init__(stores.task, RetryPolicy(1, 1), lease_seconds=60)
        self.claimed: list[str] = []
        self.go_on = asyncio.Event()

    async def claim(self, agent: Agent, capabilities: Sequence[str], slots: int) -> list[Task]:
        self.claimed.append(agent.name)
        if agent.name == "busy":
            await self.go_on.wait()
            return await super().claim(agent, capabilities, slots)
        return []

    async def report(self, agent: Agent, lease: Lease, outcome: Outcome) -> Receipt:
        raise Unavailable(f"away: {agent.name} {lease} {outcome}")


async def test_one_busy_stream_does_not_keep_the_others_waiting(stores: Stores) -> None:
    attempts = Held(stores)
    dispatcher = Dispatcher(attempts)
    running = asyncio.create_task(dispatcher.run())
    busy, calm = stream_of("busy"), stream_of("calm")
    dispatcher.open(busy)
    for _ in range(6):
        await until_so(lambda: "busy" in attempts.claimed)
        dispatcher.offer(busy)
    dispatcher.open(calm)
    await until_so(lambda: "calm" in attempts.claimed)
    assert attempts.claimed.count("busy") == 1
    attempts.go_on.set()
    await until_so(lambda: attempts.claimed.count("busy") == 2)
    running.cancel()


async def test_a_give_back_that_fails_does_not_end_the_dispatcher(
    stores: Stores, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await register(channel, "hand", ["text.count"])
    await create(caller)
    attempts = Held(stores)
    dispatcher = Dispatcher(attempts)
    running = asyncio.create_task(dispatcher.run())
    busy = stream_of("busy")
    dispatcher.open(busy)
    await until_so(lambda: "busy" in attempts.claimed)
    dispatcher.close(busy)
    attempts.go_on.set()
    dispatcher.open(stream_of("calm"))
    await until_so(lambda: "calm" in attempts.claimed)
    assert not running.done()
    running.cancel()
