"""Python values survive the way through a task, as JSON does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentmesh.payloads import (
    INLINE_BYTES,
    Content,
    decode_content,
    encode_input,
    encode_result,
    from_struct,
    from_value,
    to_value,
)
from mesh.task.v1 import dispatch_service_pb2, task_pb2

# Beyond 2**53, JSON numbers as doubles can't tell neighbours apart.
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(values)
def test_any_json_value_comes_back(value: Any) -> None:
    assert from_value(to_value(value)) == value


@given(st.dictionaries(st.text(), values))
def test_any_json_object_comes_back(value: dict[str, Any]) -> None:
    assert from_struct(input_of(value)) == value


def input_of(value: Any) -> Struct:
    task = task_pb2.Task()
    assert encode_input(task, value) is None
    return task.input


def test_whole_numbers_come_back_as_int() -> None:
    assert isinstance(from_value(to_value(3)), int)
    assert isinstance(from_value(to_value(3.5)), float)


def test_dataclasses_and_models_are_objects() -> None:
    @dataclass
    class Point:
        x: int

    class Model(BaseModel):
        name: str

    assert from_struct(input_of(Point(1))) == {"x": 1}
    assert from_value(to_value([Model(name="a")])) == [{"name": "a"}]


def test_an_object_is_carried_along() -> None:
    task = task_pb2.Task()
    assert encode_input(task, {"a": 1}) is None
    assert from_struct(task.input) == {"a": 1}


@pytest.mark.parametrize("value", [[1, 2], "text", 5, True])
def test_other_json_is_carried_along_as_data(value: Any) -> None:
    task = task_pb2.Task()
    assert encode_input(task, value) is None
    payload = task.input_payload
    assert decode_content(Content(payload.data, payload.content_type)) == value


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_bytes_come_back_as_bytes(data: Any) -> None:
    completion = dispatch_service_pb2.Completion()
    assert encode_result(completion, data) is None
    payload = completion.payload
    assert decode_content(Content(payload.data, payload.content_type)) == b"abc"


def test_the_media_type_is_kept() -> None:
    content = Content(b"%PDF", "application/pdf")
    assert decode_content(content) == content


def test_what_is_large_is_to_be_uploaded() -> None:
    task, completion = task_pb2.Task(), dispatch_service_pb2.Completion()
    value = {"text": "x" * INLINE_BYTES}
    for large in (encode_input(task, value), encode_result(completion, value)):
        assert large is not None
        assert decode_content(large) == value
    assert task.ByteSize() == completion.ByteSize() == 0
    assert encode_result(completion, b"x" * (INLINE_BYTES + 1)) is not None
