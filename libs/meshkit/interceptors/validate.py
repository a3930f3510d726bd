"""Holds each request message against the bounds that its proto declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.interceptors.chain import Call, Interceptor


class Validate(Interceptor):
    """Refuses messages that are too large, break a `buf.validate` rule or hold NUL in a text."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._validator = protovalidate.Validator()

    def check(self, call: Call, message: Message) -> None:  # noqa: ARG002 - the bounds hold for every call
        """Check one message.

        Raises:
            InvalidArgument: It is too large, or fields are out of bounds.
        """
        size = message.ByteSize()
        if size > self._max_bytes:
            raise InvalidArgument(
                f"The request has {size} bytes; at most {self._max_bytes} are accepted.",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit_bytes": str(self._max_bytes)},
            )
        violations = (
            *(
                FieldViolation(_path(violation), violation.proto.message)
                for violation in self._validator.collect_violations(message)
            ),
            *_nul_violations(message),
        )
        if violations:
            first = violations[0]
            more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
            raise InvalidArgument(
                f"{first.field}: {first.description}{more}", violations=violations
            )


def _path(violation: protovalidate.Violation) -> str:
    """Write the path of the field as a caller would: `task.labels["a"]`, `reports[0].lease`."""
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else str(element.field_name)
        if element.subscript is not None:
            path += f"[{json.dumps(element.subscript.value)}]"
    return path


def _nul_violations(message: Message) -> list[FieldViolation]:
    """Blame the fields whose text holds NUL, which no database of the mesh can store."""
    # Hardly any message has a zero byte, and to look for one is quick.
    if 0 not in message.SerializeToString():
        return []
    return [
        FieldViolation(path, "must not hold the NUL character, U+0000")
        for path, text in _texts(message, "")
        if "\0" in text
    ]


def _texts(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Walk over the texts of a message by path, but not into free-form JSON."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.type == FieldDescriptor.TYPE_STRING:
            values = enumerate(value) if field.is_repeated else [(None, value)]
            yield from ((_indexed(path, index), text) for index, text in values)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from _texts_of_messages(field, value, path)


def _texts_of_messages(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[str, str]]:
    kind = field.message_type
    if kind is None or kind.file.package == "google.protobuf":
        return
    if kind.GetOptions().map_entry:
        for key, each in value.items():
            yield from ((path, text) for text in (key, each) if isinstance(text, str))
    elif field.is_repeated:
        for index, each in enumerate(value):
            yield from _texts(each, f"{_indexed(path, index)}.")
    else:
        yield from _texts(value, f"{path}.")


def _indexed(path: str, index: int | None) -> str:
    return path if index is None else f"{path}[{index}]"
