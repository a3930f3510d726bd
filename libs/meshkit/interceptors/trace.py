"""Gives the call its trace and request id, which every log line of the call has."""

from __future__ import annotations

from typing import Final

from meshkit.interceptors.chain import Call, Interceptor
from meshkit.telemetry.traces import TRACEPARENT_KEY, enter_call

REQUEST_ID_KEY: Final = "x-request-id"


class Trace(Interceptor):
    """Continues the caller's trace or begins one; keeps or makes the request id.

    Where spans are recorded, the call's trace is that of its span.
    """

    def __init__(self, *, recorded: bool) -> None:
        self._recorded = recorded

    async def admit(self, call: Call) -> None:
        """Bind the ids to the call's context."""
        sent = call.metadata
        call.ids = enter_call(
            sent.get(REQUEST_ID_KEY), sent.get(TRACEPARENT_KEY), recorded=self._recorded
        )
