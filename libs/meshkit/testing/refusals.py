"""Expecting that a call is refused, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from meshkit.statuses import DETAILS_KEY, DOMAIN


@contextmanager
def refusal(code: grpc.StatusCode, reason: str, *fields: str) -> Iterator[None]:
    """Expect the call within to be refused with this code and reason, blaming these fields.

    Raises:
        AssertionError: It was not refused, or otherwise.
    """
    try:
        yield
    except aio.AioRpcError as error:
        answered = (error.code(), reason_of(error), fields_of(error))
        if answered != (code, reason, list(fields)):
            raise AssertionError(f"refused otherwise: {answered}: {error.details()}") from error
        return
    raise AssertionError(f"not refused, though {code.name} {reason} was expected")


def reason_of(error: aio.AioRpcError) -> str:
    """Return the reason that an answer of the mesh carries, or an empty string."""
    info = ErrorInfo()
    found = any(each.Unpack(info) for each in _details(error)) and info.domain == DOMAIN
    return str(info.reason) if found else ""


def fields_of(error: aio.AioRpcError) -> list[str]:
    """Return the request fields that an answer blames."""
    bad = BadRequest()
    found = any(each.Unpack(bad) for each in _details(error))
    return [str(violation.field) for violation in bad.field_violations] if found else []


def _details(error: aio.AioRpcError) -> list[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return list(Status.FromString(value).details)
    return []
