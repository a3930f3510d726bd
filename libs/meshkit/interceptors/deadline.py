"""No work without time: every unary call has a deadline, and a hopeless one is refused."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, cast

from meshkit.errors import DeadlineExceeded
from meshkit.interceptors.alarms import Alarms
from meshkit.interceptors.chain import Call, Interceptor, Proceed
from meshkit.settings import GrpcSettings

_ends_at: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_seconds() -> float | None:
    """Return how long the call being served has left, or None if it has no deadline."""
    ends_at = _ends_at.get()
    return None if ends_at is None else ends_at - asyncio.get_running_loop().time()


class Deadline(Interceptor):
    """Ends a call when its time is up; streams have only the deadline they bring."""

    def __init__(self, settings: GrpcSettings) -> None:
        self._default = settings.default_deadline
        self._minimum = settings.minimum_deadline
        self._alarms = Alarms()

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Bound the call by the caller's deadline or the default one."""
        seconds = self._seconds(call)
        if seconds is None:
            _ends_at.set(None)
            return await proceed(call)
        ends_at = asyncio.get_running_loop().time() + seconds
        _ends_at.set(ends_at)
        expiry = _Expiry()
        tick = self._alarms.set(expiry, ends_at)
        try:
            return await proceed(call)
        except asyncio.CancelledError as error:
            if expiry.rung and expiry.alone():
                raise DeadlineExceeded(
                    "The call ran out of time; its outcome is unknown."
                ) from error
            raise
        finally:
            self._alarms.call_off(expiry, tick)
            if expiry.rung:
                expiry.take_back()

    def _seconds(self, call: Call) -> float | None:
        # None without a deadline, whatever the stub says.
        seconds: float | None = cast("float | None", call.context.time_remaining())
        if seconds is None:
            return None if call.streaming else self._default
        if seconds < self._minimum:
            raise DeadlineExceeded(
                "The call came with too little time left; allow it more.",
                reason="DEADLINE_TOO_SHORT",
            )
        return seconds


class _Expiry:
    """Cancels the current task when it rings, and tells that from being cancelled by others.

    It is what `asyncio.timeout` is, without a timer of its own.
    """

    __slots__ = ("_cancelling", "_task", "rung")

    def __init__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self.rung = False

    def __call__(self) -> None:
        self.rung = True
        self._task.cancel()

    def alone(self) -> bool:
        """Tell whether nobody else cancels the task, once this has."""
        return self._task.cancelling() <= self._cancelling + 1

    def take_back(self) -> None:
        """Withdraw the request to cancel."""
        self._task.uncancel()
