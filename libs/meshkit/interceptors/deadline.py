"""No work without time: every unary call has a deadline, and a hopeless one is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import cast

from meshkit.errors import DeadlineExceeded
from meshkit.interceptors.chain import Call, Interceptor
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

    @asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Bound the call by the caller's deadline or the default one."""
        # None without a deadline, whatever the stub says.
        seconds: float | None = cast("float | None", call.context.time_remaining())
        if seconds is None:
            seconds = None if call.streaming else self._default
        elif seconds < self._minimum:
            raise DeadlineExceeded(
                "The call came with too little time left; allow it more.",
                reason="DEADLINE_TOO_SHORT",
            )
        if seconds is None:
            _ends_at.set(None)
            yield
            return
        _ends_at.set(asyncio.get_running_loop().time() + seconds)
        budget = asyncio.timeout(seconds)
        try:
            async with budget:
                yield
        except TimeoutError as error:
            if not budget.expired():
                # Some timeout of the handler's own, which says nothing of the call's.
                raise
            raise DeadlineExceeded("The call ran out of time; its outcome is unknown.") from error
