"""Counts, times and logs each call by its final status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Final

import grpc
import structlog

from meshkit.interceptors.chain import Call, Interceptor
from meshkit.telemetry.metrics import CALL_SECONDS, CALLS, CALLS_RUNNING

log = structlog.get_logger()

SERVER_FAULTS: Final = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}


_BY_NUMBER: Final[dict[object, grpc.StatusCode]] = {each.value[0]: each for each in grpc.StatusCode}


class Observe(Interceptor):
    """Keeps the figures of calls and writes a log line for each.

    Failures of the server are warnings; calls that went as they should are logged
    only if `log_calls` is set.
    """

    def __init__(self, *, log_calls: bool) -> None:
        self._log_calls = log_calls

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Measure from the outermost place that has a request id."""
        started = time.perf_counter()
        running = _running(call.method)
        running.inc()
        cancelled = False
        try:
            yield
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            running.dec()
            code = grpc.StatusCode.CANCELLED if cancelled else _final_code(call)
            self._record(call, code, time.perf_counter() - started)

    def _record(self, call: Call, code: grpc.StatusCode, seconds: float) -> None:
        _count(call.method, code.name).inc()
        _duration(call.method).observe(seconds)
        milliseconds = round(seconds * 1000, 3)
        if code in SERVER_FAULTS:
            log.warning("call", method=call.method, code=code.name, milliseconds=milliseconds)
        elif self._log_calls:
            log.info("call", method=call.method, code=code.name, milliseconds=milliseconds)


def _final_code(call: Call) -> grpc.StatusCode:
    if call.context.cancelled():
        return grpc.StatusCode.CANCELLED
    code: object = call.context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    # The cython context keeps an aborted code as a number, and none for success.
    return _BY_NUMBER.get(code, grpc.StatusCode.OK)


# Finding a series by its labels takes longer than counting.
_running = cache(CALLS_RUNNING.labels)
_count = cache(CALLS.labels)
_duration = cache(CALL_SECONDS.labels)
