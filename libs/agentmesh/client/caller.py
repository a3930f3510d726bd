"""Calls of a mesh that are repeated while it is briefly away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final

from grpc import aio

from agentmesh.blobs import Blobs
from agentmesh.errors import MeshError, from_rpc_error

ATTEMPTS: Final = 5
CALL_SECONDS: Final = 15.0
_BACKOFF_SECONDS: Final = (0.1, 3.0)


Begun = Callable[[Mapping[str, Any]], None]
"""Takes what the mesh says of a stream as it begins, its initial metadata."""


class Caller:
    """Calls a mesh on one channel, with one credential."""

    def __init__(self, channel: aio.Channel, metadata: Sequence[tuple[str, str]]) -> None:
        self.channel = channel
        self.metadata = metadata
        self.blobs = Blobs(channel, metadata)

    async def call(
        self, method: Any, request: Any, *, attempts: int = ATTEMPTS, seconds: float = CALL_SECONDS
    ) -> Any:
        """Call a method and return its answer, after several attempts if need be.

        Raises:
            MeshError: The mesh refuses it, or can't be reached.
        """
        for attempt in range(1, attempts + 1):
            try:
                return await method(request, metadata=self.metadata, timeout=seconds)
            except aio.AioRpcError as rpc_error:
                error = from_rpc_error(rpc_error)
                if not error.is_transient or attempt == attempts:
                    raise error from rpc_error
            await wait_before(attempt, error)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    async def stream(
        self, method: Any, request: Any, *, begun: Begun | None = None
    ) -> AsyncGenerator[Any, None]:
        """Call a method and yield its answers, without another attempt.

        `begun` is called before the first of them.

        Raises:
            MeshError: The mesh refuses it, can't be reached, or the stream broke off.
        """
        call = method(request, metadata=self.metadata)
        try:
            if begun is not None:
                begun(dict(await call.initial_metadata() or ()))
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()


async def wait_before(attempt: int, error: MeshError | None = None) -> None:
    """Wait before another attempt: longer each time, and as long as the mesh has asked for."""
    longest = min(_BACKOFF_SECONDS[0] * 2**attempt, _BACKOFF_SECONDS[1])
    seconds = random.uniform(longest / 2, longest)  # noqa: S311 - jitter
    if error is not None and error.retry_after is not None:
        seconds = max(seconds, min(error.retry_after.total_seconds(), CALL_SECONDS))
    await asyncio.sleep(seconds)
