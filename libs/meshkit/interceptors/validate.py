"""Holds each request message against the bounds that its proto declares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.interceptors.bounds import surely_within_bounds
from meshkit.interceptors.chain import Call, Interceptor

_VALIDATOR: Final = protovalidate.Validator()


class Validate(Interceptor):
    """Refuses messages that are too large, break a `buf.validate` rule or hold NUL in a text."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def check(self, call: Call, message: Message, received: bytes) -> None:  # noqa: ARG002 - the bounds hold for every call
        """Check one message.

        Raises:
            InvalidArgument: It is too large, or fields are out of bounds.
        """
        if len(received) > self._max_bytes:
            raise InvalidArgument(
                f"The request has {len(received)} bytes; at most {self._max_bytes} are accepted.",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit_bytes": str(self._max_bytes)},
            )
        violations = _violations(message)
        # Hardly any message has a zero byte, and to look for one is quick.
        if b"\0" in received:
            violations += _nul_violations(message)
        if violations:
            raise _invalid(violations)


def check_bounds(message: Message) -> None:
    """Hold a message within a request, whose own bounds leave it out, against its bounds.

    Raises:
        InvalidArgument: Fields are out of bounds, or hold NUL.
    """
    if violations := violations_of(message):
        raise _invalid(violations)


def violations_of(message: Message) -> list[FieldViolation]:
    """Return what of a message within a request is out of bounds or holds NUL."""
    violations = _violations(message)
    # As quick here as a look at each text.
    if b"\0" in message.SerializeToString():
        violations += _nul_violations(message)
    return violations


def _violations(message: Message) -> list[FieldViolation]:
    if surely_within_bounds(message):
        return []
    return [
        FieldViolation(_path(violation), violation.proto.message)
        for violation in _VALIDATOR.collect_violations(message)
    ]


def _invalid(violations: list[FieldViolation]) -> InvalidArgument:
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return InvalidArgument(
        f"{first.field}: {first.description}{more}", violations=tuple(violations)
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
    return [
        FieldViolation(path, "must not hold the NUL character, U+0000")
        for path, text in _texts(message, "")
        if "\0" in text
    ]


def _texts(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Walk over the texts of a message by path, but not into free-form JSON or what is left out."""
    for field, value in message.ListFields():
        walk = _walk_of(field)
        if walk is not None:
            yield from walk(f"{prefix}{field.name}", value)


@cache
def _walk_of(field: FieldDescriptor) -> Callable[[str, Any], Iterator[tuple[str, str]]] | None:
    """Return how to walk over the texts of a field's value, or None if it can't have any."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return _texts_of_list if field.is_repeated else _text
    kind = field.message_type
    if kind is None or kind.file.package == "google.protobuf" or _is_left_out(field):
        return None
    if kind.GetOptions().map_entry:
        return _texts_of_map
    return _texts_of_messages if field.is_repeated else _texts_of_message


def _is_left_out(field: FieldDescriptor) -> bool:
    """Tell whether whoever takes a message holds this field of it against its bounds by itself."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return validate_pb2.IGNORE_ALWAYS in (rules.ignore, rules.repeated.items.ignore)


def _text(path: str, text: str) -> Iterator[tuple[str, str]]:
    yield path, text


def _texts_of_list(path: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from ((f"{path}[{index}]", text) for index, text in enumerate(texts))


def _texts_of_map(path: str, entries: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for entry in entries.items():
        yield from ((path, text) for text in entry if isinstance(text, str))


def _texts_of_message(path: str, message: Message) -> Iterator[tuple[str, str]]:
    yield from _texts(message, f"{path}.")


def _texts_of_messages(path: str, messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    for index, each in enumerate(messages):
        yield from _texts(each, f"{path}[{index}].")
