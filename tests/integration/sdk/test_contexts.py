"""What handlers can say and know, on a real mesh."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from agentmesh import Agent, Budget, Deadlines, RateLimit, TaskContext, TaskFailed
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import RunningReplica
from tests.integration.sdk.parts import client_of, url_of, working


async def test_output_and_progress_are_seen_while_the_task_runs(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, more = Agent("writer"), asyncio.Event()

    @agent.task("text.write")
    async def write(context: TaskContext) -> None:
        await context.output("Once ")
        await context.progress(0.5, "half way")
        await more.wait()
        await context.output(b"\x89PNG", content_type="image/png")

    url, seen = url_of(small_mesh), []
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.create_task("text.write")
        async for event in client.watch_task(task.id):
            if event.output is not None:
                seen.append((event.output.content_type, event.output.data))
            if event.type == "PROGRESSED":
                assert event.task.progress is not None
                assert event.task.progress.message == "half way"
                more.set()
    assert seen == [("text/plain; charset=utf-8", b"Once "), ("image/png", b"\x89PNG")]


async def test_the_next_attempt_gets_the_checkpoint(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("reader")

    @agent.task("pages.read")
    def read(context: TaskContext) -> Any:
        if context.attempt == 1:
            context.heartbeat({"page": 7})
            raise ValueError("torn")
        return context.checkpoint

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        done = await client.run_task("pages.read")
        attempts = await client.list_attempts(done)
    assert done.result == {"page": 7}
    assert [each.outcome for each in attempts] == ["FAILED", "SUCCEEDED"]
    assert attempts[0].error is not None
    assert attempts[0].error.message == "torn"


async def test_a_paused_task_goes_on_with_its_answer(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("asker")

    @agent.task("account.close")
    async def close(context: TaskContext) -> str:
        if not context.answered:
            context.pause("Which account?", details={"choices": ["a", "b"]})
        return f"closed {context.answer} in attempt {context.attempt}"

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.create_task("account.close")
        async for event in client.watch_task(task):
            if event.type == "PAUSED":
                assert event.task.pause is not None
                assert event.task.pause.kind == "INPUT_REQUIRED"
                assert event.task.pause.prompt == "Which account?"
                assert event.task.pause.details == {"choices": ["a", "b"]}
                await client.resume_task(task, "b")
        assert (await client.get_task(task)).result == "closed b in attempt 1"


async def test_an_approval_is_given_or_refused(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("spender")

    @agent.task("money.spend")
    def spend(context: TaskContext) -> str:
        if not context.answered:
            context.pause("Spend it?", kind="approval")
        return f"spent: {context.answer}"

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        yes, no = [await client.create_task("money.spend") for _ in range(2)]
        for task in (yes, no):
            async with asyncio.timeout(30):
                while (await client.get_task(task)).state != "PAUSED":
                    await asyncio.sleep(0.01)
        await client.approve_task(yes)
        await client.reject_task(no)
        assert (await client.wait_task(yes)).result == "spent: True"
        refused = await client.wait_task(no)
    assert refused.error is not None
    assert (refused.state, refused.error.type) == ("FAILED", "ApprovalRejected")


async def test_children_are_made_once_for_a_key_and_return_their_results(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("boss", slots=4)

    @agent.task("number.square")
    async def square(data: dict[str, int]) -> int:
        return data["n"] ** 2

    @agent.task("numbers.squares")
    async def squares(context: TaskContext) -> dict[str, Any]:
        first = await context.create_child("number.square", {"n": 2}, key="first")
        if context.attempt == 1:
            raise ValueError("once more")
        second = await context.run_child("number.square", {"n": 3})
        waited = await context.client.wait_task(first)
        return {"first": first.id, "squares": [waited.result, second.result]}

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        done = await client.run_task("numbers.squares")
        child = await client.get_task(done.result["first"])
    assert done.result["squares"] == [4, 9]
    assert (child.parent_id, child.root_id, child.depth) == (done.id, done.id, 1)


async def test_results_of_dependencies_are_at_hand(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("cook")

    @agent.task("food.chop")
    async def chop(data: dict[str, str]) -> str:
        return f"chopped {data['what']}"

    @agent.task("food.cook")
    async def cook(context: TaskContext) -> list[str]:
        return sorted(context.dependency_results.values())

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        parts = [await client.create_task("food.chop", {"what": what}) for what in "ab"]
        meal = await client.run_task("food.cook", dependencies=parts)
    assert meal.result == ["chopped a", "chopped b"]


async def test_usage_is_counted_and_a_budget_holds(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("model")

    @agent.task("model.ask")
    async def ask(context: TaskContext) -> None:
        await context.usage(tokens=30, cost=0.25)
        await context.usage(tokens=12)

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        done = await client.run_task("model.ask")
        assert (done.usage.tokens, done.usage.cost) == (42, 0.25)
        with pytest.raises(TaskFailed) as exceeded:
            await client.run_task("model.ask", budget=Budget(max_tokens=10))
    assert exceeded.value.type == "BudgetExceeded"


async def test_a_cancelled_handler_has_its_grace_to_clean_up(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, cleaned = Agent("sleeper"), asyncio.Event()

    @agent.task("sleep.long")
    async def sleep_long(context: TaskContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await context.output("put away")
            cleaned.set()

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.create_task("sleep.long")
        types = []
        async for event in client.watch_task(task):
            types.append(event.type)
            if event.type == "STARTED":
                await client.cancel_task(task, grace=30)
        assert cleaned.is_set()
    assert types[-3:] == ["CANCEL_REQUESTED", "OUTPUT", "CANCELLED"]


async def test_a_plain_function_sees_that_it_is_to_stop(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent, started = Agent("grinder"), threading.Event()

    @agent.task("corn.grind")
    def grind(context: TaskContext) -> str:
        while not context.cancelled:
            started.set()
            context.progress(0.5)
        return "not reported"

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        task = await client.create_task("corn.grind")
        await asyncio.to_thread(started.wait, 10)
        await client.cancel_task(task, grace=30)
        async with asyncio.timeout(30):
            ended = await client.wait_task(task)
    assert (ended.state, ended.result) == ("CANCELLED", None)


async def test_a_failure_can_pause_the_key_it_ran_into(
    small_mesh: RunningReplica, tokens: TokenFactory
) -> None:
    agent = Agent("caller", slots=1)

    @agent.task("model.call")
    async def call(context: TaskContext) -> float | None:
        if context.attempt == 1:
            raise TaskFailed("429", type="Busy", retry_after=0.3, pause_key="model")
        return context.seconds_left

    url = url_of(small_mesh)
    async with working(agent, url, tokens), client_of(url, tokens) as client:
        done = await client.run_task(
            "model.call",
            rate_limits=[RateLimit("model", 100)],
            deadlines=Deadlines(attempt=60),
        )
        first, second = await client.list_attempts(done)
        assert first.end_time is not None
        assert second.start_time - first.end_time >= timedelta(seconds=0.3)
        assert 30 < done.result < 60
        assert done.attempt == 2
