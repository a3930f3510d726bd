"""Creating many tasks at once, over connections that don't last."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from agentmesh import (
    Agent,
    Client,
    ConcurrencyLimit,
    Deadlines,
    MeshError,
    NewTask,
    Placement,
    RetryPolicy,
)
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.sdk.fuse import Fuse
from tests.integration.sdk.parts import client_of, url_of, working


@pytest.fixture
async def known(small_mesh: RunningReplica, tokens: TokenFactory) -> str:
    """Return a capability that was offered once."""
    agent = Agent("known")
    agent.task("some.thing")(lambda: None)
    async with working(agent, url_of(small_mesh), tokens):
        return "some.thing"


async def test_each_of_many_concurrent_calls_gets_its_own_task(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    async with client_of(url_of(small_mesh), tokens) as client:
        created = await asyncio.gather(*(client.create_task(known, {"n": n}) for n in range(500)))
        assert len({task.id for task in created}) == 500
        for n in (0, 250, 499):
            assert (await client.get_task(created[n])).input == {"n": n}
        assert await client.count_tasks() == {"QUEUED": 500}


async def test_a_refusal_is_for_the_one_that_it_is_about(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    async with client_of(url_of(small_mesh), tokens) as client:
        wanted = [NewTask(known, {"n": n}) for n in range(20)]
        wanted[5] = NewTask("Not A Capability")
        wanted[7] = NewTask("never.offered")
        wanted[9] = NewTask(known, priority=10)
        created = await client.create_tasks(wanted, return_exceptions=True)
        refused = {n: each for n, each in enumerate(created) if isinstance(each, MeshError)}
        assert {n: each.code for n, each in refused.items()} == dict.fromkeys(
            (5, 7, 9), "INVALID_ARGUMENT"
        )
        assert refused[7].reason == "CAPABILITY_UNKNOWN"
        assert "task.priority" in refused[9].fields
        assert await client.count_tasks() == {"QUEUED": 17}
        with pytest.raises(MeshError, match="capability"):
            await client.create_tasks(wanted)


async def test_one_that_is_too_large_does_not_keep_the_others_out(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    wanted = [NewTask(known) for _ in range(9)]
    wanted[4] = NewTask(known, {"text": "x" * 700_000}, attributes={"text": "x" * 1_500_000})
    async with client_of(url_of(small_mesh), tokens) as client:
        created = await client.create_tasks(wanted, return_exceptions=True)
        [refused] = [each for each in created if isinstance(each, MeshError)]
        assert refused is created[4]
        assert refused.reason == "REQUEST_TOO_LARGE"
        assert await client.count_tasks() == {"QUEUED": 8}


async def test_nothing_is_lost_or_made_twice_when_connections_break(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    async with Fuse(small_mesh.port) as fuse, client_of(fuse.url, tokens) as client:
        created = []
        for number in range(10):
            cut = asyncio.get_running_loop().call_later(number * 0.004, fuse.blow)
            created += await asyncio.gather(*(client.create_task(known) for _ in range(100)))
            cut.cancel()
        assert fuse.connections > 1
        async with client_of(url_of(small_mesh), tokens) as direct:
            assert len({task.id for task in created}) == 1000
            assert await direct.count_tasks() == {"QUEUED": 1000}


async def test_a_request_id_makes_one_task(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    async with client_of(url_of(small_mesh), tokens) as client:
        first = await client.create_task(known, {"a": 1}, request_id="once")
        again = await client.create_task(known, {"a": 1}, request_id="once")
        assert first.id == again.id
        with pytest.raises(MeshError) as other:
            await client.create_task(known, {"a": 2}, request_id="once")
    assert (other.value.code, other.value.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert other.value.metadata == {"task_id": first.id}


async def test_what_the_mesh_refuses_for_all_is_told_to_all(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    async with Client(url_of(small_mesh), tokens.sign("task:read")) as client:
        refused = await asyncio.gather(
            *(client.create_task(known) for _ in range(3)), return_exceptions=True
        )
    assert [getattr(each, "code", "") for each in refused] == ["PERMISSION_DENIED"] * 3


async def test_a_client_that_closes_leaves_nobody_waiting(tokens: TokenFactory) -> None:
    async with Client("http://127.0.0.1:1", tokens.sign("task:*")) as client:
        creating = asyncio.create_task(client.create_task("some.thing"))
        await asyncio.sleep(0)
    with pytest.raises(MeshError, match="closed"):
        await creating


async def test_options_are_kept(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    retry = RetryPolicy(
        initial_backoff=timedelta(seconds=3), multiplier=2.0, non_retryable_types=("Hopeless",)
    )
    limit = ConcurrencyLimit("user:1", 2, "REJECT_NEWEST")
    async with client_of(url_of(small_mesh), tokens) as client:
        task = await client.create_task(
            known,
            schedule=60,
            retry=retry,
            deadlines=Deadlines(total=timedelta(hours=1)),
            placement=Placement(version=">=1", required_labels={"gpu": "yes"}),
            fairness="red",
            concurrency=[limit],
            labels={"a": "b"},
            attributes={"amount": 3, "paid": True},
        )
        assert task.state == "SCHEDULED"
        found = await client.get_task(task)
    policy = found.policy
    assert (found.state, found.wait_reason) == ("SCHEDULED", "TIME")
    assert policy.retry.non_retryable_types == ("Hopeless",)
    assert policy.retry.initial_backoff == timedelta(seconds=3)
    assert policy.deadlines.total == timedelta(hours=1)
    assert policy.placement.required_labels == {"gpu": "yes"}
    assert policy.fairness is not None
    assert (policy.fairness.key, policy.concurrency) == ("red", (limit,))
    assert (found.labels, found.attributes) == ({"a": "b"}, {"amount": 3, "paid": True})


async def test_a_limit_that_is_reached_is_told_at_once(
    small_mesh: RunningReplica, tokens: TokenFactory, known: str
) -> None:
    limits = [ConcurrencyLimit("user:1", 1, "REJECT_NEWEST")]
    async with client_of(url_of(small_mesh), tokens) as client:
        await client.create_task(known, concurrency=limits)
        with pytest.raises(MeshError) as refused:
            await client.create_task(known, concurrency=limits)
    assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "CONCURRENCY_LIMIT")
