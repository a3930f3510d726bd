"""Gives the call its trace and request id, and logs them with every line."""

from __future__ import annotations

import re
from typing import Final

import structlog

from meshkit.ids import uuid7
from meshkit.interceptors.chain import Call, Interceptor
from meshkit.telemetry.traces import TRACEPARENT_KEY, enter_trace

REQUEST_ID_KEY: Final = "x-request-id"
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")


class Trace(Interceptor):
    """Continues the caller's trace or begins one; keeps or makes the request id."""

    async def admit(self, call: Call) -> None:
        """Bind the ids to the call's context."""
        sent = call.metadata.get(REQUEST_ID_KEY, "")
        call.request_id = sent if _REQUEST_ID.match(sent) else str(uuid7())
        context = enter_trace(call.metadata.get(TRACEPARENT_KEY))
        structlog.contextvars.bind_contextvars(
            request_id=call.request_id, trace_id=context.trace_id
        )
