"""Between Python values and what tasks carry: JSON, and data of any other type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from pydantic import TypeAdapter

from mesh.task.v1 import dispatch_service_pb2, payload_pb2, task_pb2

INLINE_BYTES: Final = 768 << 10
"""What is larger goes to the mesh's store of large data instead of along with the task."""

JSON_TYPE: Final = "application/json"
BYTES_TYPE: Final = "application/octet-stream"

_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_PLAIN: Final = frozenset((str, int, float, bool, type(None)))
_NULL: Final = Value(null_value=0)  # type: ignore[arg-type] # the enum's only value


@dataclass(frozen=True, slots=True)
class Content:
    """Data of a media type, as an input or a result."""

    data: bytes
    content_type: str = BYTES_TYPE


Large = Content
"""Data that is to be uploaded before a message can name it."""


def to_value(value: Any) -> Value:
    """Encode anything that has a JSON form: None, numbers, text, lists, mappings, models."""
    if value is None:
        return _NULL
    if type(value) is str:
        return Value(string_value=value)
    plain = _ANY.dump_python(value, mode="json")
    if isinstance(plain, Mapping):
        encoded = Value()
        encoded.struct_value.SetInParent()
        encoded.struct_value.update(plain)
        return encoded
    holder = ListValue()
    holder.extend([plain])
    return holder.values[0]


def encode_input(task: task_pb2.Task, value: Any) -> Large | None:
    """Put an input into a task; return what has to be uploaded instead."""
    if isinstance(value, Content | bytes | bytearray | memoryview):
        return _encode_content(task.input_payload, value)
    plain = _ANY.dump_python(value, mode="json")
    if not isinstance(plain, dict):
        return _encode_content(task.input_payload, Content(_json(plain), JSON_TYPE))
    if not plain:
        # Present, as an empty object is.
        task.input.SetInParent()
        return None
    task.input.update(plain)
    if task.input.ByteSize() <= INLINE_BYTES:
        return None
    task.ClearField("input")
    return Large(_json(plain), JSON_TYPE)


def encode_result(completion: dispatch_service_pb2.Completion, value: Any) -> Large | None:
    """Put a result into a completion; return what has to be uploaded instead."""
    if isinstance(value, Content | bytes | bytearray | memoryview):
        return _encode_content(completion.payload, value)
    completion.result.CopyFrom(to_value(value))
    if type(value) in _PLAIN and type(value) is not str:
        return None
    if completion.result.ByteSize() <= INLINE_BYTES:
        return None
    completion.ClearField("result")
    return Large(_ANY.dump_json(value), JSON_TYPE)


def decode_content(content: Content) -> Any:
    """Return JSON as values, plain bytes as bytes, and anything else as it is.

    Raises:
        ValueError: It is said to be JSON, but isn't.
    """
    kind = content.content_type.partition(";")[0].strip().lower()
    if kind == JSON_TYPE:
        return json.loads(content.data)
    return content.data if kind in (BYTES_TYPE, "") else content


def from_struct(struct: Struct) -> dict[str, Any]:
    """Decode a JSON object; whole numbers come back as int."""
    return {key: _DECODERS[value.WhichOneof("kind")](value) for key, value in struct.fields.items()}


def from_value(value: Value) -> Any:
    """Decode a JSON value; whole numbers come back as int."""
    return _DECODERS[value.WhichOneof("kind")](value)


def _from_number(value: Value) -> int | float:
    number = value.number_value
    return int(number) if number.is_integer() else number


_DECODERS: Final[dict[str | None, Callable[[Value], Any]]] = {
    None: lambda _: None,
    "null_value": lambda _: None,
    "bool_value": lambda value: value.bool_value,
    "number_value": _from_number,
    "string_value": lambda value: value.string_value,
    "list_value": lambda value: [from_value(item) for item in value.list_value.values],
    "struct_value": lambda value: from_struct(value.struct_value),
}


def _encode_content(payload: payload_pb2.Payload, value: Any) -> Large | None:
    content = value if isinstance(value, Content) else Content(bytes(value))
    if len(content.data) > INLINE_BYTES:
        return content
    payload.content_type, payload.data = content.content_type, content.data
    return None


def _json(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
