"""Between the tool catalogue's messages and its domain."""

from __future__ import annotations

from typing import Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct

from mesh.tool_catalog.v1 import tool_pb2
from meshkit.filtering import STRING, STRINGS, Filter, parse
from meshkit.timestamps import to_timestamp
from services.tool_catalog.domain import Definition, Schema, Tool
from services.tool_catalog.errors import SchemaInvalid

_FILTER_FIELDS: Final = {
    "name": STRING,
    "version": STRING,
    "capability": STRING,
    "tag": STRINGS,
}


def definition_from_proto(message: tool_pb2.Tool) -> Definition:
    """Decode what a tool is.

    Raises:
        SchemaInvalid: A schema holds what JSON can't, such as an infinite number.
    """
    has_output = message.HasField("output_schema")
    return Definition(
        name=message.name,
        version=message.version,
        description=message.description,
        capability=message.capability,
        input_schema=_schema(message.input_schema, "tool.input_schema"),
        output_schema=_schema(message.output_schema, "tool.output_schema") if has_output else None,
        tags=tuple(message.tags),
    )


def tool_to_proto(tool: Tool) -> tool_pb2.Tool:
    """Encode a tool."""
    definition = tool.definition
    output = definition.output_schema
    return tool_pb2.Tool(
        id=str(tool.id),
        name=definition.name,
        version=definition.version,
        description=definition.description,
        capability=definition.capability,
        input_schema=_struct(definition.input_schema),
        output_schema=None if output is None else _struct(output),
        tags=definition.tags,
        creator=tool.creator,
        create_time=to_timestamp(tool.create_time),
    )


def tool_filter(expression: str) -> Filter | None:
    """Decode a filter of tools; None selects all of them.

    Raises:
        InvalidArgument: The expression can't be read.
    """
    return parse(expression, _FILTER_FIELDS)


def _schema(message: Struct, field: str) -> Schema:
    try:
        return MessageToDict(message)
    except ValueError as error:
        raise SchemaInvalid(field, "#", "it holds a number that JSON can't write") from error


def _struct(schema: Schema) -> Struct:
    return ParseDict(dict(schema), Struct())
