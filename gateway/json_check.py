"""The Lua program that checks JSON bodies, and the schema tables it walks by.

Envoy's transcoder drops unknown fields silently and says little about wrong types; the
program refuses both, by name of the field, before the transcoder sees the body.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.contracts import Binding

PROGRAMS = ("json_text.lua", "json_check.lua", "query_check.lua", "edge.lua")

SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_SINT32: "int32",
    FieldDescriptor.TYPE_SFIXED32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_FIXED32: "uint32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FIXED64: "uint64",
}

WELL_KNOWN = {
    "google.protobuf.Any": "object",
    "google.protobuf.Struct": "object",
    "google.protobuf.Value": "value",
    "google.protobuf.ListValue": "list",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
    "google.protobuf.FieldMask": "string",
    "google.protobuf.StringValue": "string",
    "google.protobuf.BytesValue": "bytes",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.DoubleValue": "double",
    "google.protobuf.FloatValue": "double",
    "google.protobuf.Int32Value": "int32",
    "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.Int64Value": "int64",
    "google.protobuf.UInt64Value": "uint64",
}
"""JSON forms of the well-known types, which differ from their fields."""

Shape = dict[str, Any]
"""What a JSON value must be: `kind`, and what the kind needs: `message`, `names`, or `of`."""


def program(bindings: Iterable[Binding]) -> str:
    """Give the Lua program that checks the bodies of the bindings."""
    package = files("gateway")
    parts = [package.joinpath(name).read_text(encoding="utf-8") for name in PROGRAMS]
    return "\n".join([f"local SCHEMA = {lua_literal(schema(bindings))}", *parts])


def schema(bindings: Iterable[Binding]) -> dict[str, dict[str, Shape]]:
    """Tell, for each message that a request can hold, the shape of each field by both its names."""
    messages: dict[str, dict[str, Shape]] = {}
    for binding in bindings:
        add_message(binding.request, messages)
    return messages


def add_message(message: Descriptor, messages: dict[str, dict[str, Shape]]) -> None:
    """Add a message and all that its fields hold to `messages`."""
    if message.full_name in messages or message.full_name in WELL_KNOWN:
        return
    fields: dict[str, Shape] = {}
    messages[message.full_name] = fields
    for field in message.fields:
        fields[field.name] = fields[field.json_name] = shape(field)
        held = map_value(field) or field
        if held.message_type is not None:
            add_message(held.message_type, messages)


def shape(field: FieldDescriptor) -> Shape:
    """Tell what the JSON value of a field must be."""
    value = map_value(field)
    if value is not None:
        return {"kind": "map", "of": element(value)}
    if field.is_repeated:
        return {"kind": "repeated", "of": element(field)}
    return element(field)


def element(field: FieldDescriptor) -> Shape:
    """Tell what one value of a field must be, whether or not the field is repeated."""
    if field.enum_type is not None:
        return {"kind": "enum", "names": enum_names(field.enum_type)}
    if field.message_type is None:
        return {"kind": SCALARS[field.type]}
    name = field.message_type.full_name
    if name in WELL_KNOWN:
        return {"kind": WELL_KNOWN[name]}
    return {"kind": "message", "message": name}


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Give the field that holds the values of a map; None for a field that is no map."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["value"]


def enum_names(enum: EnumDescriptor) -> dict[str, bool]:
    """Give the names of an enum as a Lua set."""
    return {value.name: True for value in enum.values}


def lua_literal(value: object) -> str:
    """Write nested dictionaries of strings and true as a Lua table, in a stable order.

    Raises:
        TypeError: the value holds anything else.
    """
    match value:
        case True:
            return "true"
        case str():
            return lua_string(value)
        case dict():
            pairs = (f"[{lua_string(key)}]={lua_literal(value[key])}" for key in sorted(value))
            return "{" + ",".join(pairs) + "}"
    raise TypeError(f"no Lua literal for {value!r}")


def lua_string(text: str) -> str:
    """Quote the name of a message, field or enum value, which have no character to escape.

    Raises:
        ValueError: the text has a quote, a backslash or a line break.
    """
    if any(character in text for character in '"\\\n\r'):
        raise ValueError(f"not a name: {text!r}")
    return f'"{text}"'
