"""A connection that passes the gateway by: each service is called at its own port."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from grpc import aio

from agentmesh.connection import Connection


@dataclass(frozen=True, slots=True)
class DirectConnection(Connection):
    """What an SDK's worker connects by.

    Attributes:
        url: Of the task service, `http://host:port`.
        registry_url: Of the registry.
    """

    registry_url: str = ""

    def channel(self) -> aio.Channel:
        """Open a channel to each service, behind the face of one."""
        channels = _Channels(
            Connection(self.url, self.api_key).channel(),
            Connection(self.registry_url, self.api_key).channel(),
        )
        return cast("aio.Channel", channels)


class _Channels:
    def __init__(self, task: aio.Channel, registry: aio.Channel) -> None:
        self._task = task
        self._registry = registry

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).unary_unary(method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).unary_stream(method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).stream_unary(method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._of(method).stream_stream(method, *arguments, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._task.close()
        await self._registry.close()

    def _of(self, method: str) -> aio.Channel:
        return self._registry if method.startswith("/mesh.registry.") else self._task
