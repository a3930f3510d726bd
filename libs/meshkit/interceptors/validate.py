"""Holds each request message against the bounds that its proto declares."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import protovalidate
from google.protobuf.message import Message

from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.interceptors.chain import Call, Interceptor


class Validate(Interceptor):
    """Refuses messages that are too large or break a `buf.validate` rule."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._validator = protovalidate.Validator()

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:  # noqa: ARG002 - it acts on messages only
        """Do nothing around the call; messages are checked one by one."""
        yield

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
        violations = tuple(
            FieldViolation(_path(violation), violation.proto.message)
            for violation in self._validator.collect_violations(message)
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
