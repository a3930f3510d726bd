"""Receipts that come along with assignments: all of them, once each, in the reports' order."""

from __future__ import annotations

import pytest
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from tests.integration.task.agents import HandAgent, connected, done
from tests.integration.task.steering import make

pytestmark = pytest.mark.usefixtures("known")

_TASKS = 30
_SLOTS = 3


async def test_receipts_come_along_with_what_takes_the_place_of_the_done(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    made = await make(caller, _TASKS)
    async with connected(channel, "text.count", slots=_SLOTS, merges_receipts=True) as agent:
        answers = await _work_off(agent)
    told = [receipt for answer in answers for receipt in _receipts(answer)]
    assert [receipt.lease.task_id for receipt in told] == made
    assert all(receipt.accepted for receipt in told)
    assert any(_receipts(answer) and answer.assignments.assignments for answer in answers)


async def test_an_agent_that_has_not_said_so_gets_them_apart(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    await make(caller, _TASKS)
    async with connected(channel, "text.count", slots=_SLOTS) as agent:
        answers = await _work_off(agent)
    assert not any(answer.assignments.receipts for answer in answers)
    assert sum(len(_receipts(answer)) for answer in answers) == _TASKS


async def _work_off(agent: HandAgent) -> list[dispatch.DispatchResponse]:
    """Finish each task as it comes; return all that was said until the last receipt."""
    answers: list[dispatch.DispatchResponse] = []
    received = 0
    while received < _TASKS:
        answer = await agent.call.read()
        answers.append(answer)
        received += len(_receipts(answer))
        reports = [done(each.lease) for each in answer.assignments.assignments]
        if reports:
            message = dispatch.Reports(reports=reports)
            await agent.call.write(dispatch.DispatchRequest(reports=message))
    return answers


def _receipts(answer: dispatch.DispatchResponse) -> list[dispatch.Receipt]:
    return [*answer.receipts.receipts, *answer.assignments.receipts]
