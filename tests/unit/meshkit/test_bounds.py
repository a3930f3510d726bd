"""What is taken to be within bounds is so by protovalidate's word, and usual messages are."""

from __future__ import annotations

from typing import Any

import protovalidate
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mesh.auth.v1 import auth_service_pb2
from mesh.registry.v1 import agent_pb2, registry_service_pb2
from mesh.task.v1 import dispatch_service_pb2 as dispatch
from mesh.task.v1 import task_pb2, task_policy_pb2, task_service_pb2
from meshkit.interceptors.bounds import surely_within_bounds

_UUID = "0192f0c1-7b9a-7e4e-8a2b-0123456789ab"
_VALIDATOR = protovalidate.Validator()
_TEXTS = (
    "", "a", "a.b-c_d", "A", "a.b\n", "ä", "1.2.3", _UUID, _UUID.upper(), _UUID + "\n",
    "x" * 128, "ß" * 129, "x" * 9000,
)  # fmt: skip
_INTEGERS = (-1, 0, 1, 9, 10, 100, 101, 1001, 1 << 30)
_FLOATS = (float("nan"), float("inf"), -0.0, -1.0, 0.5, 1.0, 1e9)

_MESSAGES: tuple[type[Message], ...] = (
    task_service_pb2.CreateTaskRequest,
    task_service_pb2.BatchCreateTasksRequest,
    task_service_pb2.ListTasksRequest,
    task_service_pb2.UpdateTaskRequest,
    task_service_pb2.RunTaskRequest,
    dispatch.DispatchRequest,
    dispatch.ReportTasksRequest,
    dispatch.ClaimTasksRequest,
    registry_service_pb2.RegisterAgentRequest,
    auth_service_pb2.CreateApiKeyRequest,
)


def _fill(draw: st.DrawFn, message: Message, depth: int) -> None:
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    if fields:
        for field in draw(st.lists(st.sampled_from(fields), max_size=4)):
            _set(draw, message, field, depth)


def _set(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    held = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(draw, field, held, depth)
    elif field.is_repeated:
        for _ in range(draw(st.sampled_from((1, 2)))):
            if field.message_type is None:
                held.append(_value(draw, field))
            elif depth:
                _fill(draw, held.add(), depth - 1)
    elif field.message_type is None:
        setattr(message, field.name, _value(draw, field))
    else:
        held.SetInParent()
        if depth:
            _fill(draw, held, depth - 1)


def _fill_map(draw: st.DrawFn, field: FieldDescriptor, entries: Any, depth: int) -> None:
    assert field.message_type is not None
    value = field.message_type.fields_by_name["value"]
    key = draw(st.sampled_from(_TEXTS))
    if value.message_type is None:
        entries[key] = _value(draw, value)
    elif depth:
        _fill(draw, entries[key], depth - 1)


def _value(draw: st.DrawFn, field: FieldDescriptor) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = draw(st.sampled_from(_TEXTS))
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return draw(st.booleans())
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return draw(st.sampled_from(_FLOATS))
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return draw(st.sampled_from(_INTEGERS[1:]))
        case _:
            return draw(st.sampled_from(_INTEGERS))


@given(data=st.data(), kind=st.sampled_from(_MESSAGES))
@settings(max_examples=300, deadline=None)
def test_what_is_surely_within_bounds_breaks_no_rule(
    data: st.DataObject, kind: type[Message]
) -> None:
    message = kind()

    @st.composite
    def filled(draw: st.DrawFn) -> None:
        _fill(draw, message, 4)

    data.draw(filled())
    sure = surely_within_bounds(message)
    event(f"sure: {sure}")
    if sure:
        assert not _VALIDATOR.collect_violations(message)


@pytest.mark.parametrize(
    "message",
    [
        task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability="text.count")),
        task_service_pb2.CreateTaskRequest(
            task=task_pb2.Task(
                capability="text.count",
                labels={"team": "red"},
                priority=3,
                fairness=task_policy_pb2.Fairness(key="a", weight=2),
            ),
            request_id="one",
        ),
        task_service_pb2.GetTaskRequest(task_id=_UUID),
        dispatch.DispatchRequest(
            reports=dispatch.Reports(
                reports=[
                    dispatch.Report(
                        lease=dispatch.Lease(task_id=_UUID, epoch=1),
                        completion=dispatch.Completion(result=Value(string_value="ok")),
                    )
                ]
            )
        ),
        dispatch.DispatchRequest(
            heartbeat=dispatch.Heartbeat(holding=[dispatch.Lease(task_id=_UUID, epoch=1)])
        ),
        registry_service_pb2.RegisterAgentRequest(
            agent=agent_pb2.Agent(
                name="one", capabilities=[agent_pb2.Capability(name="text.count")]
            )
        ),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_usual_messages_are_surely_within_bounds(message: Message) -> None:
    assert surely_within_bounds(message)


@pytest.mark.parametrize(
    "message",
    [
        task_service_pb2.CreateTaskRequest(),
        task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability="Text")),
        task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability="a\n")),
        task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability="a", priority=10)),
        task_service_pb2.CreateTaskRequest(task=task_pb2.Task(capability="a", labels={"": ""})),
        task_service_pb2.GetTaskRequest(),
        task_service_pb2.GetTaskRequest(task_id=_UUID + "\n"),
        dispatch.Reports(),
        dispatch.Reports(reports=[dispatch.Report()]),
        dispatch.Hello(agent_id=_UUID, slots=1, capabilities=["a", "a"]),
        task_service_pb2.RunTaskRequest(
            task=task_pb2.Task(capability="a"), wait=Duration(seconds=-1)
        ),
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_not(message: Message) -> None:
    assert _VALIDATOR.collect_violations(message)
    assert not surely_within_bounds(message)
