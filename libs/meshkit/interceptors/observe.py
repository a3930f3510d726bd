"""Counts, times and logs each call by its final status."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import grpc
import structlog

from meshkit.interceptors.chain import Call, Interceptor, Proceed
from meshkit.telemetry.metrics import CALLS, MethodFigures

log = structlog.get_logger()

SERVER_FAULTS: Final = {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Codes that are the server's fault rather than the caller's."""

SLOW_SECONDS: Final = 1.0
"""A call that takes longer is logged, even if calls that go well are not."""

_OK: Final = "OK"
_CANCELLED: Final = "CANCELLED"
# The cython context keeps the code of an aborted call as a number, and none for success.
_NAMES: Final[dict[object, str]] = {
    None: _OK,
    **{code: code.name for code in grpc.StatusCode},
    **{code.value[0]: code.name for code in grpc.StatusCode},
}


class Observe(Interceptor):
    """Keeps the figures of calls, and logs those that one would ask about.

    Failures of the server are warnings. Refusals and slow calls are logged at INFO; with
    `log_calls`, so are all the others.
    """

    def __init__(self, *, log_calls: bool) -> None:
        self._log_calls = log_calls

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Measure from the outermost place that has a request id."""
        figures = CALLS.of(call.method)
        figures.running += 1
        started = time.perf_counter()
        cancelled = False
        try:
            return await proceed(call)
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            figures.running -= 1
            code = _CANCELLED if cancelled else _final_code(call)
            self._record(call, figures, code, time.perf_counter() - started)

    def _record(self, call: Call, figures: MethodFigures, code: str, seconds: float) -> None:
        figures.count(code, seconds)
        if code in SERVER_FAULTS:
            write = log.warning
        elif self._log_calls or code != _OK or seconds > SLOW_SECONDS:
            write = log.info
        else:
            return
        write("call", method=call.method, code=code, milliseconds=round(seconds * 1000, 3))


def _final_code(call: Call) -> str:
    if call.context.cancelled():
        return _CANCELLED
    return _NAMES.get(call.context.code(), _OK)
