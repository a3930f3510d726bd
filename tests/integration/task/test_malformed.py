"""What agents report beyond bounds: it is cut, or refused alone, and the rest goes on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import payload_pb2, task_pb2, task_policy_pb2
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import (
    HandAgent,
    alive,
    connected,
    done,
    output,
    paused,
    progress,
)
from tests.integration.task.calls import create, get, history, seconds, state_of

KIB = 1024


@pytest.fixture
async def agent(channel: aio.Channel) -> AsyncIterator[HandAgent]:
    async with connected(channel, "text.count", slots=9) as connected_agent:
        yield connected_agent


async def leases(caller: TaskServiceStub, agent: HandAgent, count: int) -> list[dispatch.Lease]:
    """Have the agent hold so many tasks."""
    for _ in range(count):
        await create(caller)
    return [assignment.lease for assignment in await agent.take(count)]


def told(receipts: list[dispatch.Receipt]) -> list[tuple[bool, str]]:
    return [(receipt.accepted, receipt.reason) for receipt in receipts]


def failure(lease: dispatch.Lease, **fields: object) -> dispatch.Report:
    return dispatch.Report(lease=lease, failure=dispatch.Failure(**fields))  # type: ignore[arg-type] # a test's own


async def test_words_are_cut_to_what_can_be_kept(caller: TaskServiceStub, agent: HandAgent) -> None:
    [lease] = await leases(caller, agent, 1)
    words = task_pb2.TaskProgress(fraction=0.5, message="ä\0" * 1024)
    error = task_pb2.TaskError(type="T\0" + "y" * 300, message="ö\0" * 8192)
    receipts = await agent.report(
        dispatch.Report(lease=lease, progress=words),
        failure(lease, error=error, pause_key="k\0" * 128),
    )
    assert told(receipts) == [(True, "")] * 2
    ended = await get(caller, lease.task_id)
    assert ended.error.type == "T\ufffd" + "y" * 254
    assert ended.error.message == "ö\ufffd" * 4096
    progressed = (await history(caller, lease.task_id))[2]
    assert progressed.task.progress.message == "ä\ufffd" * 512


@pytest.mark.parametrize(
    "usage",
    [
        task_policy_pb2.Usage(tokens=-1),
        task_policy_pb2.Usage(tokens=2**63 - 1),
        task_policy_pb2.Usage(cost=float("nan")),
        task_policy_pb2.Usage(cost=float("inf")),
    ],
)
async def test_what_comes_beside_an_outcome_is_left_out_if_it_makes_no_sense(
    caller: TaskServiceStub, agent: HandAgent, usage: task_policy_pb2.Usage
) -> None:
    done_one, failed_one = await leases(caller, agent, 2)
    error = task_pb2.TaskError(type="Boom")
    receipts = await agent.report(
        done(done_one, usage=usage),
        failure(failed_one, error=error, retryable=True, usage=usage, retry_after=seconds(-1)),
    )
    assert told(receipts) == [(True, "")] * 2
    ended = await get(caller, done_one.task_id)
    assert (state_of(ended), ended.HasField("usage")) == ("SUCCEEDED", False)
    assert (await get(caller, failed_one.task_id)).error.type == "Boom"


async def test_a_report_that_makes_no_sense_is_refused_alone_and_may_be_made_otherwise(
    caller: TaskServiceStub, agent: HandAgent
) -> None:
    first, second = await leases(caller, agent, 2)
    large = Value(string_value="x" * (256 * KIB))
    nan = Value(number_value=float("nan"))
    question = task_pb2.TaskPause(kind=task_pb2.TaskPause.KIND_INPUT_REQUIRED, details=large)
    wrong = [
        (output(first, b"x" * (256 * KIB + 1)), "output.data"),
        (alive(first, "x" * (256 * KIB)), "heartbeat.checkpoint"),
        (dispatch.Report(lease=first, pause=question), "pause.details"),
        (dispatch.Report(lease=first, pause=task_pb2.TaskPause()), "pause.kind"),
        (done(first, payload=payload_pb2.Payload()), "completion.payload.source"),
        (progress(first, float("nan")), "progress.fraction"),
        (
            dispatch.Report(lease=first, completion=dispatch.Completion(result=nan)),
            "completion.result",
        ),
        (dispatch.Report(lease=first), "report"),
        (failure(first), "failure.error"),
    ]
    for report, field in wrong:
        refused, accepted = await agent.report(report, alive(second))
        assert told([refused, accepted]) == [(False, "INVALID_ARGUMENT"), (True, "")]
        assert refused.message.startswith(f"{field}: "), refused.message
    receipts = await agent.report(paused(first), done(second))
    assert told(receipts) == [(True, "")] * 2
    # Both have left the agent, and nothing else was taken for it.
    assert len(await leases(caller, agent, 9)) == 9


async def test_a_blob_that_is_not_there_refuses_one_report_of_many(
    caller: TaskServiceStub, agent: HandAgent
) -> None:
    first, second, third = await leases(caller, agent, 3)
    foreign = payload_pb2.Payload(blob_id=str(uuid.uuid4()))
    receipts = await agent.report(done(first), done(second, payload=foreign), done(third))
    assert told(receipts) == [(True, ""), (False, "BLOB_NOT_FOUND"), (True, "")]
    [receipt] = await agent.report(done(second))
    assert receipt.accepted


@pytest.mark.parametrize(
    ("reports", "field"),
    [
        ([], "reports"),
        ([done(dispatch.Lease(task_id="seven", epoch=1))], "reports[0].lease.task_id"),
        ([done(dispatch.Lease(task_id=str(uuid.uuid4())))], "reports[0].lease.epoch"),
        ([dispatch.Report(release=dispatch.Release())], "reports[0].lease"),
        ([done(dispatch.Lease(task_id=str(uuid.uuid4()), epoch=1))] * 1001, "reports"),
    ],
)
async def test_what_can_not_be_answered_is_refused_as_a_whole(
    channel: aio.Channel, agent: HandAgent, reports: list[dispatch.Report], field: str
) -> None:
    request = dispatch.ReportTasksRequest(agent_id=agent.id, reports=reports)
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await DispatchServiceStub(channel).ReportTasks(request)
    message = dispatch.DispatchRequest(reports=dispatch.Reports(reports=reports))
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await agent.call.write(message)
        await agent.next("receipts")


async def test_reports_in_a_call_are_cut_and_refused_alike(
    channel: aio.Channel, caller: TaskServiceStub, agent: HandAgent
) -> None:
    first, second = await leases(caller, agent, 2)
    error = task_pb2.TaskError(type="Boom", message="a\0b")
    request = dispatch.ReportTasksRequest(
        agent_id=agent.id,
        reports=[output(first, b"x" * (256 * KIB + 1)), failure(second, error=error)],
    )
    answered = await DispatchServiceStub(channel).ReportTasks(request)
    assert told(list(answered.receipts)) == [(False, "INVALID_ARGUMENT"), (True, "")]
    assert (await get(caller, second.task_id)).error.message == "a\ufffdb"
