"""Python values survive the way through a task, as JSON does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentmesh.payloads import from_struct, from_value, to_struct, to_value

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
    assert from_struct(to_struct(value)) == value


def test_whole_numbers_come_back_as_int() -> None:
    assert isinstance(from_value(to_value(3)), int)
    assert isinstance(from_value(to_value(3.5)), float)


def test_dataclasses_and_models_are_objects() -> None:
    @dataclass
    class Point:
        x: int

    class Model(BaseModel):
        name: str

    assert from_struct(to_struct(Point(1))) == {"x": 1}
    assert from_value(to_value([Model(name="a")])) == [{"name": "a"}]


def test_an_input_is_an_object() -> None:
    with pytest.raises(TypeError, match="a JSON object, not list"):
        to_struct([1])
