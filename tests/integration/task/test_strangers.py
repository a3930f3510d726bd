"""Another tenant's ids, in every call: they answer exactly as ids of nothing do."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from mesh.common.v1 import page_pb2
from mesh.task.v1 import blob_service_pb2 as blobs
from mesh.task.v1 import bulk_service_pb2 as bulk
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import payload_pb2, task_pb2
from mesh.task.v1 import queue_service_pb2 as queues
from mesh.task.v1 import task_policy_pb2 as policy
from mesh.task.v1 import task_service_pb2 as tasks
from mesh.task.v1.blob_service_pb2_grpc import BlobServiceStub
from mesh.task.v1.bulk_service_pb2_grpc import BulkServiceStub
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from mesh.task.v1.queue_service_pb2_grpc import QueueServiceStub
from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import fields_of, reason_of, refusal
from meshkit.testing.serving import bearer
from meshkit.testing.tokens import TokenFactory
from services.task.blobs.blob import NewBlob
from tests.integration.replicas import RunningReplica
from tests.integration.task.agents import alive, connected, done, register
from tests.integration.task.calls import create, create_batch, creation, get, state_of

PERMISSIONS = ("task:*", "agent:*", "blob:*", "invocation:*")


@dataclass(frozen=True)
class Ids:
    """One of each thing that has an id."""

    task: str
    agent: str
    blob: str
    pause: str
    operation: str


UNKNOWN = Ids(*(str(uuid.uuid4()) for _ in range(5)))


@pytest.fixture
async def foreign(channel: aio.Channel, small_mesh: RunningReplica) -> Ids:
    """What another tenant has."""

    async def data() -> AsyncIterator[bytes]:
        yield b"secret"

    agent = await register(channel, "known", ["text.count"])
    task = await create(TaskServiceStub(channel), request_id="one")
    blob = await small_mesh.task.blobs.upload("acme", NewBlob("text/plain", 0, b""), data())
    pausing = queues.CreatePauseRequest(pause=queues.Pause(capability="text.other"))
    pause = await QueueServiceStub(channel).CreatePause(pausing)
    started = await BulkServiceStub(channel).StartBulkOperation(
        bulk.StartBulkOperationRequest(
            operation=bulk.BulkOperation(
                action=bulk.BulkOperation.ACTION_CANCEL, filter="state = PAUSED"
            )
        )
    )
    return Ids(task.id, agent, str(blob.id), pause.id, started.id)


@pytest.fixture
async def theirs(small_mesh: RunningReplica, tokens: TokenFactory) -> AsyncIterator[aio.Channel]:
    """Call as one who may do everything in a tenant of his own, and has an agent."""
    token = tokens.sign(*PERMISSIONS, tenant="umbrella")
    async with aio.insecure_channel(small_mesh.address, interceptors=bearer(token)) as opened:
        await register(opened, "known", ["text.count"])
        yield opened


async def first_of(call: Any) -> Any:
    return await call.read()


async def hello(channel: aio.Channel, agent_id: str) -> Any:
    call: Any = DispatchServiceStub(channel).Dispatch()
    opening = dispatch.Hello(agent_id=agent_id, slots=1, capabilities=["text.count"])
    await call.write(dispatch.DispatchRequest(hello=opening))
    return await call.read()


def needs(task_id: str) -> policy.Dependencies:
    return policy.Dependencies(tasks=[policy.Dependency(task_id=task_id)])


Call = Callable[[aio.Channel, Ids], Any]
CALLS: dict[str, Call] = {
    "get": lambda c, ids: get(TaskServiceStub(c), ids.task),
    "update": lambda c, ids: TaskServiceStub(c).UpdateTask(
        tasks.UpdateTaskRequest(
            task=task_pb2.Task(id=ids.task, priority=3), update_mask=FieldMask(paths=["priority"])
        )
    ),
    "cancel": lambda c, ids: TaskServiceStub(c).CancelTask(
        tasks.CancelTaskRequest(task_id=ids.task)
    ),
    "resume": lambda c, ids: TaskServiceStub(c).ResumeTask(
        tasks.ResumeTaskRequest(task_id=ids.task)
    ),
    "retry": lambda c, ids: TaskServiceStub(c).RetryTask(tasks.RetryTaskRequest(task_id=ids.task)),
    "attempts": lambda c, ids: TaskServiceStub(c).ListAttempts(
        tasks.ListAttemptsRequest(task_id=ids.task)
    ),
    "watch": lambda c, ids: first_of(
        TaskServiceStub(c).WatchTask(tasks.WatchTaskRequest(task_id=ids.task))
    ),
    "watch a tree": lambda c, ids: first_of(
        TaskServiceStub(c).WatchTasks(tasks.WatchTasksRequest(root_id=ids.task))
    ),
    "create a child": lambda c, ids: create(TaskServiceStub(c), parent_id=ids.task),
    "depend": lambda c, ids: create(TaskServiceStub(c), dependencies=needs(ids.task)),
    "stick": lambda c, ids: create(
        TaskServiceStub(c), placement=policy.Placement(sticky_task_id=ids.task)
    ),
    "name a blob": lambda c, ids: create(
        TaskServiceStub(c), input_payload=payload_pb2.Payload(blob_id=ids.blob)
    ),
    "get a blob": lambda c, ids: BlobServiceStub(c).GetBlob(blobs.GetBlobRequest(blob_id=ids.blob)),
    "download a blob": lambda c, ids: first_of(
        BlobServiceStub(c).DownloadBlob(blobs.DownloadBlobRequest(blob_id=ids.blob))
    ),
    "end a pause": lambda c, ids: QueueServiceStub(c).DeletePause(
        queues.DeletePauseRequest(pause_id=ids.pause)
    ),
    "get an operation": lambda c, ids: BulkServiceStub(c).GetBulkOperation(
        bulk.GetBulkOperationRequest(bulk_operation_id=ids.operation)
    ),
    "stop an operation": lambda c, ids: BulkServiceStub(c).StopBulkOperation(
        bulk.StopBulkOperationRequest(bulk_operation_id=ids.operation)
    ),
    "be an agent": lambda c, ids: hello(c, ids.agent),
    "claim for an agent": lambda c, ids: DispatchServiceStub(c).ClaimTasks(
        dispatch.ClaimTasksRequest(agent_id=ids.agent, capabilities=["text.count"])
    ),
}


async def refused(call: Any) -> tuple[Any, ...]:
    with pytest.raises(aio.AioRpcError) as answer:
        await call
    error = answer.value
    return error.code(), reason_of(error), fields_of(error), error.details()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_what_is_another_tenants_is_not_there(
    theirs: aio.Channel, foreign: Ids, call: Call
) -> None:
    told = await refused(call(theirs, foreign))
    assert told == await refused(call(theirs, UNKNOWN))
    assert told[0] in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


async def test_an_agent_that_is_not_there_is_blamed_on_the_field_that_names_it(
    theirs: aio.Channel, foreign: Ids
) -> None:
    for call, field in (("be an agent", "hello.agent_id"), ("claim for an agent", "agent_id")):
        told = await refused(CALLS[call](theirs, foreign))
        assert told[:3] == (grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", [field])


async def test_what_is_another_tenants_is_in_no_list(theirs: aio.Channel, foreign: Ids) -> None:
    caller, queue = TaskServiceStub(theirs), QueueServiceStub(theirs)
    for wanted in ("", f"parent_id = {foreign.task}", f"root_id = {foreign.task}"):
        listed = await caller.ListTasks(tasks.ListTasksRequest(filter=wanted))
        counted = await caller.CountTasks(tasks.CountTasksRequest(filter=wanted))
        assert not listed.tasks
        assert not counted.counts
    assert not (await queue.ListQueues(queues.ListQueuesRequest())).queues
    assert not (await queue.ListPauses(queues.ListPausesRequest())).pauses
    assert not (await queue.ListConnections(queues.ListConnectionsRequest())).connections
    operations = await BulkServiceStub(theirs).ListBulkOperations(bulk.ListBulkOperationsRequest())
    assert not operations.operations
    # A request id is its tenant's.
    assert (await create(caller, request_id="one")).id != foreign.task


async def test_in_a_batch_another_tenants_ids_refuse_one_task_each(
    theirs: aio.Channel, foreign: Ids
) -> None:
    caller = TaskServiceStub(theirs)
    payload = payload_pb2.Payload(blob_id=foreign.blob)
    results = await create_batch(
        caller,
        creation(),
        creation(parent_id=foreign.task),
        creation(dependencies=needs(foreign.task)),
        creation(input_payload=payload),
        creation(),
    )
    assert [bool(result.task_id) for result in results] == [True, False, False, False, True]


async def test_pauses_and_bulk_operations_keep_to_their_tenant(
    channel: aio.Channel, theirs: aio.Channel, foreign: Ids
) -> None:
    queue = QueueServiceStub(theirs)
    for target in ({"capability": "text.count"}, {"agent_id": foreign.agent}):
        await queue.CreatePause(queues.CreatePauseRequest(pause=queues.Pause(**target)))  # type: ignore[arg-type] # one of the targets
    operation = bulk.BulkOperation(action=bulk.BulkOperation.ACTION_CANCEL)
    started = await BulkServiceStub(theirs).StartBulkOperation(
        bulk.StartBulkOperationRequest(operation=operation)
    )
    assert started.total == 0
    async with connected(channel, "text.count", name="known") as agent:
        [assignment] = await agent.take()
        assert assignment.task.id == foreign.task


async def test_a_lease_is_good_for_its_own_agent_and_tenant_only(
    channel: aio.Channel, theirs: aio.Channel, foreign: Ids
) -> None:
    caller = TaskServiceStub(channel)
    other = await register(channel, "other", ["text.count"])
    async with connected(channel, "text.count", name="known") as agent:
        [assignment] = await agent.take()
        lease = assignment.lease
        for opened, agent_id in ((channel, other), (theirs, foreign.agent), (theirs, other)):
            stub = DispatchServiceStub(opened)
            reports = [alive(lease), done(lease, "stolen")]
            answered = await stub.ReportTasks(
                dispatch.ReportTasksRequest(agent_id=agent_id, reports=reports)
            )
            assert [receipt.reason for receipt in answered.receipts] == ["LEASE_LOST"] * 2
            renewed = await stub.RenewLeases(
                dispatch.RenewLeasesRequest(agent_id=agent_id, holding=[lease])
            )
            assert list(renewed.lost) == [lease]
        assert state_of(await get(caller, foreign.task)) == "RUNNING"
        assert (await agent.report(done(lease)))[0].accepted


async def test_a_page_token_is_good_for_its_own_tenant_and_query_only(
    channel: aio.Channel, theirs: aio.Channel, foreign: Ids
) -> None:
    caller = TaskServiceStub(channel)
    await create(caller)
    token = (await caller.ListTasks(tasks.ListTasksRequest(page_size=1))).next_page_token
    assert foreign.task
    cursor = page_pb2.PageCursor.FromString(base64.urlsafe_b64decode(token + "=="))
    cursor.values[0].time.seconds = 2**62
    tampered = base64.urlsafe_b64encode(cursor.SerializeToString()).decode().rstrip("=")
    for stub, request in (
        (TaskServiceStub(theirs), tasks.ListTasksRequest(page_token=token)),
        (caller, tasks.ListTasksRequest(page_token=token, filter="priority = 1")),
        (caller, tasks.ListTasksRequest(page_token=token, order_by="priority")),
        (caller, tasks.ListTasksRequest(page_token=token[:-4])),
        (caller, tasks.ListTasksRequest(page_token=tampered)),
    ):
        with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "page_token"):
            await stub.ListTasks(request)
