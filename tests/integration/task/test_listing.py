"""Lists of tasks: filtered by every field, in every order, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import grpc
import pytest
from grpc import aio
from sqlalchemy import text

from mesh.task.v1 import task_pb2, task_service_pb2
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from meshkit.testing.tokens import TokenFactory
from tests.integration.replicas import Stores, replica
from tests.integration.task.agents import connected, done, failed, register
from tests.integration.task.calls import cancel, create, create_batch, creation, end_of, retry
from tests.integration.task.conftest import open_channel

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
async def known(channel: aio.Channel) -> None:
    """Have one agent know the capabilities that these tests ask for."""
    await register(channel, "known", ["text.count", "text.other"])


async def pages(
    caller: TaskServiceStub, filter_: str = "", order_by: str = "", size: int = 0
) -> list[list[task_pb2.Task]]:
    """Every page of a list, to the end."""
    found: list[list[task_pb2.Task]] = []
    token = ""
    while True:
        request = task_service_pb2.ListTasksRequest(
            filter=filter_, order_by=order_by, page_size=size, page_token=token
        )
        page = await caller.ListTasks(request)
        found.append(list(page.tasks))
        token = page.next_page_token
        if not token:
            return found


async def listed(
    caller: TaskServiceStub, filter_: str = "", order_by: str = "", size: int = 0
) -> list[str]:
    """The ids that a list gives, page by page."""
    return [task.id for page in await pages(caller, filter_, order_by, size) for task in page]


async def create_many(caller: TaskServiceStub, wanted: Sequence[dict[str, Any]]) -> list[str]:
    results = await create_batch(caller, *(creation(**each) for each in wanted))
    return [result.task_id for result in results]


async def test_tasks_are_found_by_what_they_are(caller: TaskServiceStub) -> None:
    red = await create(caller, labels={"team": "red", "run": "1"}, priority=3)
    blue = await create(caller, labels={"team": "blue"}, capability="text.other")
    plain = await create(caller)
    since = f"{red.create_time.ToJsonString()}"
    expected = {
        "": [plain.id, blue.id, red.id],
        "labels.team = red": [red.id],
        'labels.team = "red" AND labels.run = "1"': [red.id],
        "labels.team = red AND labels.run = 2": [],
        "labels.team = green": [],
        "labels:team": [blue.id, red.id],
        "-labels:team": [plain.id],
        "priority >= 3": [red.id],
        "priority = 12": [],
        "capability = text.other": [blue.id],
        "state = QUEUED AND capability = text.other": [blue.id],
        "state = RUNNING": [],
        "state != QUEUED": [],
        "state = QUEUED OR state = RUNNING": [plain.id, blue.id, red.id],
        f"create_time <= {since}": [red.id],
        f"create_time > {since}": [plain.id, blue.id],
        f"create_time >= {since} AND create_time <= {since}": [red.id],
        'creator = "key:tester"': [plain.id, blue.id, red.id],
        "end_time:*": [],
        f"end_time > {since}": [],
        f"root_id = {blue.id}": [blue.id],
        f"parent_id = {blue.id}": [],
    }
    assert {each: await listed(caller, each) for each in expected} == expected


async def test_attributes_are_compared_by_their_type(caller: TaskServiceStub) -> None:
    tasks = []
    for values in ({"amount": 3}, {"amount": 3.5, "urgent": True}, {"amount": "3"}):
        task = task_pb2.Task(capability="text.count")
        task.attributes.update(values)
        tasks.append((await caller.CreateTask(task_service_pb2.CreateTaskRequest(task=task))).id)
    three, more, words = tasks
    expected = {
        "attributes.amount = 3": [three],
        "attributes.amount = 3.0": [three],
        'attributes.amount = "3"': [words],
        "attributes.amount > 3": [more],
        "attributes.urgent = true": [more],
        "attributes:amount": [words, more, three],
        "attributes.amount = 3 AND state = QUEUED": [three],
    }
    assert {each: await listed(caller, each) for each in expected} == expected


async def test_tasks_are_found_by_their_family(caller: TaskServiceStub) -> None:
    root = (await create(caller)).id
    child = (await create(caller, parent_id=root)).id
    grandchild = (await create(caller, parent_id=child)).id
    await create(caller)
    await cancel(caller, grandchild)
    expected = {
        f"root_id = {root}": [grandchild, child, root],
        f"root_id = {root} AND state = QUEUED": [child, root],
        f"parent_id = {root}": [child],
        f"parent_id = {child} AND state = CANCELLED": [grandchild],
        "-parent_id:* AND state = QUEUED": [*(await listed(caller))[:1], root],
    }
    assert {each: await listed(caller, each) for each in expected} == expected
    assert await listed(caller, f"root_id = {root}", "create_time", 1) == [root, child, grandchild]


async def test_finished_and_unfinished_tasks_are_one_list(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    async with connected(channel, "text.count", slots=1) as agent:
        good = await create(caller)
        [assignment] = await agent.take()
        await agent.report(done(assignment.lease))
        bad = await create(caller, max_attempts=1)
        [assignment] = await agent.take()
        await agent.report(failed(assignment.lease, retryable=True))
        await end_of(caller, bad.id)
        other = await create(caller, capability="text.other")
    again = await retry(caller, bad.id)
    expected = {
        "": [again.id, other.id, bad.id, good.id],
        "end_time:*": [bad.id, good.id],
        f'agent_id = "{agent.id}" AND state = SUCCEEDED': [good.id],
        "state = DEAD_LETTERED": [bad.id],
        f"replay_of = {bad.id}": [again.id],
        f"end_time < {bad.create_time.ToJsonString()}": [good.id],
    }
    assert {each: await listed(caller, each) for each in expected} == expected


async def test_lists_leave_inputs_and_results_out(caller: TaskServiceStub) -> None:
    task = task_pb2.Task(capability="text.count", labels={"team": "red"}, priority=2)
    task.input.update({"text": "a"})
    created = await caller.CreateTask(task_service_pb2.CreateTaskRequest(task=task))
    [[found]] = await pages(caller)
    created.ClearField("input")
    assert found == created


@pytest.mark.parametrize("size", [2, 100])
@pytest.mark.parametrize(
    "order_by",
    ["", "create_time", "create_time desc", "priority", "priority desc",
     "priority desc, create_time", "priority, create_time desc"],
)  # fmt: skip
async def test_every_order_pages_through_all_without_repeats(
    caller: TaskServiceStub, order_by: str, size: int
) -> None:
    # One batch shares a time of creation; a few end, so that both tables take part.
    ids = await create_many(caller, [{"priority": each % 3 * 4} for each in range(5)])
    ids += await create_many(caller, [{"priority": each % 2 * 4} for each in range(4)])
    for task_id in ids[::3]:
        await cancel(caller, task_id)
    tasks = [task for page in await pages(caller, "", order_by, size) for task in page]
    assert sorted(task.id for task in tasks) == sorted(ids)
    keys = [key.split() for key in (order_by or "create_time desc").split(",")]
    for before, after in pairwise(tasks):
        for field, *direction in keys:
            first, second = getattr(before, field), getattr(after, field)
            if field == "create_time":
                first, second = first.ToNanoseconds(), second.ToNanoseconds()
            if first != second:
                assert (first > second) == (direction == ["desc"])
                break


async def test_an_update_of_labels_is_found_by_the_new_ones_only(caller: TaskServiceStub) -> None:
    task = await create(caller, labels={"team": "red", "run": "1"})
    request = task_service_pb2.UpdateTaskRequest(
        task=task_pb2.Task(id=task.id, labels={"team": "blue", "run": "1"})
    )
    request.update_mask.paths.append("labels")
    await caller.UpdateTask(request)
    expected = {
        "labels.team = red": [],
        "labels.team = blue": [task.id],
        "labels.run = 1": [task.id],
    }
    assert {each: await listed(caller, each) for each in expected} == expected


async def test_a_page_goes_on_at_another_replica(
    caller: TaskServiceStub, stores: Stores, tokens: TokenFactory
) -> None:
    ids = await create_many(caller, [{} for _ in range(4)])
    request = task_service_pb2.ListTasksRequest(page_size=2)
    first = await caller.ListTasks(request)
    request.page_token = first.next_page_token
    async with replica(stores, tokens) as second, open_channel(second, tokens, "acme") as elsewhere:
        rest = await TaskServiceStub(elsewhere).ListTasks(request)
    assert sorted(task.id for page in (first, rest) for task in page.tasks) == sorted(ids)


async def test_a_rare_task_is_found_though_pages_come_short(
    caller: TaskServiceStub, stores: Stores
) -> None:
    rare = (await create(caller, capability="text.other")).id
    lane = "(SELECT lane FROM tasks LIMIT 1)"
    await stores.task.transaction(
        lambda connection: connection.execute(
            text(
                f"""
                INSERT INTO tasks (id, tenant, capability, state, priority, attempt, max_attempts,
                    epoch, creator, create_time, ready_time, last_sequence, depth, agent_name,
                    tokens, cost, input, labels, attributes, lane, awaits)
                SELECT gen_random_uuid(), 'acme', 'text.count', 'queued', 0, 0, 3, 0, 'x', now(),
                    now(), 1, 0, '', 0, 0, '', '{{}}', '{{}}', {lane}, 0
                FROM generate_series(1, 25000)
                """  # noqa: S608 - the test's own text
            )
        )
    )
    found = await pages(caller, "capability = text.other")
    assert [[task.id for task in page] for page in found] == [[], [rare]]


async def test_a_page_is_no_larger_than_a_message(caller: TaskServiceStub) -> None:
    labels = {f"{n:0>128}": "ü" * 128 for n in range(64)}
    ids: list[str] = []
    for _ in range(4):
        ids += await create_many(caller, [{"labels": labels}] * 30)
    found = await pages(caller, "", "priority desc", 1000)
    assert sorted(task.id for page in found for task in page) == sorted(ids)
    sizes = [sum(task.ByteSize() for task in page) for page in found]
    assert len(sizes) > 1
    assert all(size <= 2 << 20 for size in sizes)


async def test_lists_while_tasks_end_show_each_task_once(caller: TaskServiceStub) -> None:
    ids = await create_many(caller, [{"priority": each % 10} for each in range(60)])

    async def end_all() -> None:
        for task_id in ids:
            await cancel(caller, task_id)

    ending = asyncio.create_task(end_all())
    while not ending.done():
        assert sorted(await listed(caller, size=7)) == sorted(ids)
    await ending


@pytest.mark.parametrize("order_by", ["color", "id", "create_time, priority", "priority,priority"])
async def test_an_order_that_makes_no_sense_is_refused(
    caller: TaskServiceStub, order_by: str
) -> None:
    with refusal(INVALID, "INVALID_ORDER_BY", "order_by"):
        await listed(caller, order_by=order_by)


async def test_other_tenants_see_nothing_by_any_way(
    caller: TaskServiceStub, stranger: TaskServiceStub
) -> None:
    root = (await create(caller, labels={"team": "red"})).id
    await create(caller, parent_id=root)
    for wanted in ("", "labels.team = red", f"root_id = {root}", f"parent_id = {root}"):
        assert await listed(stranger, wanted) == []
