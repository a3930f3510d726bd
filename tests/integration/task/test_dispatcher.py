"""The streams of a replica: nobody waits for work that is there, and nobody holds what is lost."""

from __future__ import annotations

import asyncio
import uuid

import grpc
import pytest
from grpc import aio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from services.task.dispatch.streams import Stream
from services.task.domain.task import Agent
from tests.integration.replicas import RULES, RunningReplica, Stores, replica
from tests.integration.task.agents import connected, done, register
from tests.integration.task.calls import (
    Event,
    create,
    get,
    history,
    names,
    state_of,
)
from tests.integration.task.calls import until as until_event
from tests.integration.task.conftest import open_channel
from tests.integration.task.test_leases import lapse
from tests.waiting import until

Cause = dispatch.Drain


@pytest.fixture
def without_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the poll that is the net beneath the wake-ups."""
    monkeypatch.setattr("services.task.dispatcher._POLL_SECONDS", 3600)


def idle_stream(agent_id: str, slots: int = 1) -> Stream:
    """An agent that is connected but reads nothing."""
    agent = Agent(uuid.UUID(agent_id), "acme", "idle", {"text.count": ""})
    return Stream(agent, frozenset(["text.count"]), slots)


@pytest.mark.usefixtures("without_polls")
async def test_the_slot_of_a_lapsed_lease_is_free_at_once(
    channel: aio.Channel, caller: TaskServiceStub, stores: Stores
) -> None:
    async with connected(channel, "text.count") as agent:
        task_id = (await create(caller)).id
        [first] = await agent.take()
        await lapse(stores.task)
        await until_event(caller, task_id, Event.TYPE_RETRYING)
        [second] = await agent.take()
        assert second.lease.epoch > first.lease.epoch
        if first.lease not in agent.lost:
            assert list((await agent.next("cancellations")).leases) == [first.lease]


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
    async with connected(channel, "text.count", slots=2) as agent:
        held = await create(caller)
        [assignment] = await agent.take()
        await agent.call.write(dispatch.DispatchRequest(leaving=dispatch.Leaving()))
        assert (await agent.next("drain")).cause == Cause.CAUSE_LEAVING
        assert state_of(await create(caller)) == "QUEUED"
        # What it has it may finish.
        [receipt] = await agent.report(done(assignment.lease))
        assert receipt.accepted
        assert state_of(await get(caller, held.id)) == "SUCCEEDED"


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
    await register(channel, "hand", ["text.count"])
    task = await create(caller)
    locked, let_go = asyncio.Event(), asyncio.Event()

    async def elsewhere(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT id FROM tasks FOR UPDATE"))
        locked.set()
        await let_go.wait()

    claim = asyncio.create_task(stores.task.transaction(elsewhere))
    await locked.wait()
    async with connected(channel, "text.count") as agent:
        let_go.set()
        await claim
        [assignment] = await agent.take()
    assert assignment.task.id == task.id


async def test_tasks_that_an_agent_was_never_told_of_are_given_back(
    small_mesh: RunningReplica, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    agent_id = await register(channel, "idle", ["text.count"])
    dispatcher, idle = small_mesh.task.dispatcher, idle_stream(agent_id, slots=2)
    dispatcher.open(idle)
    tasks = [await create(caller) for _ in range(2)]
    assert [state_of(task) for task in tasks] == ["RUNNING", "RUNNING"]
    dispatcher.close(idle)
    async with connected(channel, "text.count", slots=2) as agent:
        given = await agent.take(2)
        assert [each.task.attempt for each in given] == [1, 1]
        assert [each.lease.epoch for each in given] == [2, 2]
        await agent.report(*[done(each.lease) for each in given])
    for task in tasks:
        assert names(await history(caller, task.id)) == [
            "CREATED",
            "STARTED",
            "RELEASED",
            "STARTED",
            "SUCCEEDED",
        ]


async def test_a_stream_that_ends_while_tasks_are_leased_to_it_leaves_none_behind(
    small_mesh: RunningReplica, channel: aio.Channel, caller: TaskServiceStub
) -> None:
    agent_id = await register(channel, "idle", ["text.count"])
    dispatcher, seating = small_mesh.task.dispatcher, small_mesh.task.seating
    for _ in range(10):
        idle = idle_stream(agent_id)
        dispatcher.open(idle)
        creating = asyncio.create_task(create(caller))
        # It goes while the transaction that seats the task is under way.
        await until(lambda stream=idle: bool(stream.held))  # type: ignore[misc] # the stream of this turn
        dispatcher.close(idle)
        await creating
        async with connected(channel, "text.count") as agent:
            [given] = await agent.take()
            await agent.report(done(given.lease))
            assert given.task.attempt == 1
        await until(lambda: not seating.streams)


async def test_slots_follow_what_the_agent_asks_for(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count") as agent:
        for _ in range(5):
            await create(caller)
        [first] = await agent.take()
        await agent.resize(3)
        more = await agent.take(2)
        await agent.resize(1)
        await agent.report(done(first.lease), done(more[0].lease))
        await agent.beat()
        await agent.next("pulse")
        assert agent.assigned == []
        await agent.report(done(more[1].lease))
        [fourth] = await agent.take()
        await agent.resize(0)
        await agent.report(done(fourth.lease))
        await agent.resize(1)
        await agent.take()


async def test_a_new_stream_of_a_process_ends_its_old_one(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    process = str(uuid.uuid4())
    async with connected(channel, "text.count", process_id=process) as old:
        await create(caller)
        [held] = await old.take()
        holding = [held.lease]
        async with connected(
            channel, "text.count", slots=2, process_id=process, holding=holding
        ) as new:
            assert (await old.next("drain")).cause == Cause.CAUSE_REPLACED
            assert await old.call.read() is aio.EOF
            await create(caller)
            [other] = await new.take()
            receipts = await new.report(done(held.lease), done(other.lease))
            assert [receipt.accepted for receipt in receipts] == [True, True]
            # Another process of the same agent stays.
            async with connected(channel, "text.count", process_id=str(uuid.uuid4())):
                await new.beat()
                await new.next("pulse")


async def test_a_stream_gets_only_so_old(stores: Stores, tokens: TokenFactory) -> None:
    rules = RULES.model_copy(update={"stream_max_age": 0.01})
    async with (
        replica(stores, tokens, rules=rules) as running,
        open_channel(running, tokens, "acme") as channel,
        connected(channel, "text.count") as agent,
    ):
        assert (await agent.next("drain")).cause == Cause.CAUSE_STREAM_AGE


async def test_a_stream_that_says_nothing_ends(stores: Stores, tokens: TokenFactory) -> None:
    rules = RULES.model_copy(update={"stream_silence": 0.01, "idle_heartbeat": 0.01})
    async with (
        replica(stores, tokens, rules=rules) as running,
        open_channel(running, tokens, "acme") as channel,
        connected(channel, "text.count") as agent,
    ):
        async with asyncio.timeout(30):
            assert await agent.call.read() is aio.EOF
        await until(lambda: not running.task.dispatcher.streams)


async def test_an_agent_that_holds_a_task_owes_heartbeats(
    stores: Stores, tokens: TokenFactory
) -> None:
    rules = RULES.model_copy(update={"stream_silence": 0.01, "idle_heartbeat": 3600})
    async with (
        replica(stores, tokens, rules=rules) as running,
        open_channel(running, tokens, "acme") as channel,
        connected(channel, "text.count") as agent,
    ):
        [stream] = running.task.dispatcher.streams
        # Long silent, and looked at since: what holds nothing may be.
        stream.seen -= 60
        await until(lambda: stream.idle > stream.opened_at)
        await create(TaskServiceStub(channel))
        await agent.take()
        async with asyncio.timeout(30):
            assert await agent.call.read() is aio.EOF


@pytest.mark.parametrize(
    ("message", "code", "reason", "field"),
    [
        (
            dispatch.DispatchRequest(
                hello=dispatch.Hello(
                    agent_id=str(uuid.uuid4()), slots=1, capabilities=["text.count"]
                )
            ),
            grpc.StatusCode.FAILED_PRECONDITION,
            "DISPATCH_PROTOCOL",
            (),
        ),
        (
            dispatch.DispatchRequest(credits=dispatch.Credits(slots=-1)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_ARGUMENT",
            ("credits.slots",),
        ),
    ],
)
async def test_what_makes_no_sense_on_a_stream_is_refused(
    channel: aio.Channel,
    message: dispatch.DispatchRequest,
    code: grpc.StatusCode,
    reason: str,
    field: tuple[str, ...],
) -> None:
    async with connected(channel, "text.count") as agent:
        with refusal(code, reason, *field):
            await agent.call.write(message)
            await agent.call.read()
