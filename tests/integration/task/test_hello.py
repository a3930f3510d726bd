"""How a dispatch stream may start."""

from __future__ import annotations

import uuid

import grpc
import pytest
from grpc import aio

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from meshkit.testing.refusals import refusal
from tests.integration.task.agents import register


@pytest.mark.parametrize(
    ("first", "code", "reason", "field"),
    [
        (
            dispatch.DispatchRequest(leaving=dispatch.Leaving()),
            grpc.StatusCode.FAILED_PRECONDITION,
            "DISPATCH_PROTOCOL",
            (),
        ),
        (
            dispatch.DispatchRequest(
                hello=dispatch.Hello(
                    agent_id=str(uuid.uuid4()), slots=1, capabilities=["text.count"]
                )
            ),
            grpc.StatusCode.NOT_FOUND,
            "AGENT_NOT_FOUND",
            ("hello.agent_id",),
        ),
        (
            dispatch.DispatchRequest(
                hello=dispatch.Hello(agent_id="x", slots=1, capabilities=["text.count"])
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_ARGUMENT",
            ("hello.agent_id",),
        ),
    ],
)
async def test_a_stream_that_starts_wrong_is_refused(
    channel: aio.Channel,
    first: dispatch.DispatchRequest,
    code: grpc.StatusCode,
    reason: str,
    field: tuple[str, ...],
) -> None:
    call = DispatchServiceStub(channel).Dispatch()
    with refusal(code, reason, *field):
        await call.write(first)
        await call.read()


async def test_an_agent_may_only_offer_what_it_registered(channel: aio.Channel) -> None:
    agent_id = await register(channel, "hand", ["text.count"])
    call = DispatchServiceStub(channel).Dispatch()
    hello = dispatch.Hello(agent_id=agent_id, slots=1, capabilities=["text.other"])
    with refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "hello.capabilities"):
        await call.write(dispatch.DispatchRequest(hello=hello))
        await call.read()
