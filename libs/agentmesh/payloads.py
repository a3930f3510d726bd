"""Between Python values and the JSON that tasks carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from pydantic import TypeAdapter

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def to_struct(value: Any) -> Struct:
    """Encode a mapping, dataclass or pydantic model as a JSON object.

    Raises:
        TypeError: It isn't a JSON object.
    """
    plain = _ANY.dump_python(value, mode="json")
    if not isinstance(plain, Mapping):
        raise TypeError(f"the input of a task is a JSON object, not {type(value).__name__}")
    struct = Struct()
    struct.update(plain)
    return struct


def to_value(value: Any) -> Value:
    """Encode anything that has a JSON form: None, numbers, text, lists, mappings, models."""
    holder = ListValue()
    holder.extend([_ANY.dump_python(value, mode="json")])
    return holder.values[0]


def from_struct(struct: Struct) -> dict[str, Any]:
    """Decode a JSON object; whole numbers come back as int."""
    return {key: from_value(value) for key, value in struct.fields.items()}


def from_value(value: Value) -> Any:
    """Decode a JSON value; whole numbers come back as int."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in (None, "null_value") else getattr(value, kind)
