"""What goes along with a task, and what is too large to."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc import aio

from mesh.task.v1.task_service_pb2_grpc import TaskServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import connected, done
from tests.integration.task.calls import create, create_batch, creation, get, state_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MIB = 1 << 20
# A text's tag and length within a value.
_AROUND_TEXT = 4

pytestmark = pytest.mark.usefixtures("known")


def input_of(size: int) -> Struct:
    """Return an input of so many bytes, of about a mebibyte."""
    struct = Struct()
    struct.update({"text": "x" * MIB})
    struct.update({"text": "x" * (size - (struct.ByteSize() - MIB))})
    assert struct.ByteSize() == size
    return struct


async def test_an_input_of_a_mebibyte_goes_along(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    given = input_of(MIB)
    task = await create(caller, input=given)
    assert (await get(caller, task.id)).input == given
    async with connected(channel, "text.count") as agent:
        [assignment] = await agent.take()
    assert assignment.task.input == given


async def test_a_larger_input_is_refused_by_its_field_and_told_where_to_go(
    caller: TaskServiceStub,
) -> None:
    with refusal(INVALID, "INVALID_ARGUMENT", "task.input"):
        await create(caller, input=input_of(MIB + 1))
    with pytest.raises(aio.AioRpcError, match="as a blob, and name that in input_payload"):
        await create(caller, input=input_of(MIB + 1))
    made, refused = await create_batch(caller, creation(), creation(input=input_of(MIB + 1)))
    assert made.task_id
    assert (refused.error.code, refused.task_id) == (INVALID.value[0], "")


async def test_a_result_of_a_mebibyte_is_kept_and_a_larger_one_refused(
    channel: aio.Channel, caller: TaskServiceStub
) -> None:
    result = "x" * (MIB - _AROUND_TEXT)
    async with connected(channel, "text.count") as agent:
        task = await create(caller)
        [assignment] = await agent.take()
        [receipt] = await agent.report(done(assignment.lease, result + "x"))
        assert (receipt.accepted, receipt.reason) == (False, "INVALID_ARGUMENT")
        assert receipt.message.startswith("completion.result: ")
        assert "as a blob" in receipt.message
        # The lease goes on.
        [receipt] = await agent.report(done(assignment.lease, result))
        assert receipt.accepted
    ended = await get(caller, task.id)
    assert (state_of(ended), ended.result.string_value) == ("SUCCEEDED", result)


async def test_a_request_that_is_too_large_is_refused_as_such(caller: TaskServiceStub) -> None:
    with refusal(INVALID, "REQUEST_TOO_LARGE"):
        await create(caller, input=input_of(2 * MIB))
