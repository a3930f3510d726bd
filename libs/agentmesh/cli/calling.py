"""How commands call the mesh, and what they say when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from grpc import aio

from agentmesh.client.caller import Caller
from agentmesh.connection import Connection
from agentmesh.errors import MeshError
from agentmesh.stack.errors import StackError

Result = TypeVar("Result")


@asynccontextmanager
async def mesh() -> AsyncIterator[tuple[aio.Channel, Caller]]:
    """Open a channel to the mesh, found as the SDK finds it, and what calls on it."""
    connection = Connection.resolve()
    channel = connection.channel()
    try:
        yield channel, Caller(channel, connection.metadata)
    finally:
        await channel.close()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Do what calls the mesh.

    Raises:
        StackError: It failed; what to do is said.
    """
    try:
        return asyncio.run(work)
    except MeshError as error:
        raise StackError(str(error), _remedy(error)) from error


def _remedy(error: MeshError) -> str:
    if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return "use a key that may do this: set AGENTMESH_API_KEY"
    if error.is_transient:
        return "see whether the mesh is up, or set AGENTMESH_URL to where it is"
    return "correct the command and try again"
