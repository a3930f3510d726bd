"""A served echo, and callers of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from meshkit.audit import Recorder
from meshkit.settings import AuditSettings, GrpcSettings
from meshkit.testing.serving import Served, serving
from meshkit.testing.tokens import TokenFactory
from tests.integration.meshkit.audited import Act as ActOnThing
from tests.integration.meshkit.audited import Book, Things, add_things, tell
from tests.integration.meshkit.echo import Act, Echo, add_echo

ServeEcho = Callable[..., Awaitable[Served]]
ServeThings = Callable[..., Awaitable[Served]]


async def nothing(_text: str) -> None:
    """Do nothing."""


@pytest.fixture
async def serve_echo(tokens: TokenFactory) -> AsyncIterator[ServeEcho]:
    """Serve echoes, each with an act and settings of its own."""
    async with AsyncExitStack() as cleanup:

        async def serve(act: Act = nothing, **settings: Any) -> Served:
            chosen = GrpcSettings(**{"port": 0, "drain_delay": 0, "grace": 0.1} | settings)
            service = serving(add_echo, Echo(act), tokens.verifier, settings=chosen)
            return await cleanup.enter_async_context(service)

        yield serve


@pytest.fixture
def token(tokens: TokenFactory) -> str:
    """Sign a token that may call the echo."""
    return tokens.sign("echo:say", tenant="acme", subject="key:1")


@pytest.fixture
def book() -> Book:
    """Keep the records of a test."""
    book = Book()
    book.open.set()
    return book


@pytest.fixture
async def serve_things(tokens: TokenFactory, book: Book) -> AsyncIterator[ServeThings]:
    """Serve the audited service; at the end of the server all records are in the book."""
    async with AsyncExitStack() as cleanup:

        async def serve(act: ActOnThing = tell, **settings: Any) -> Served:
            chosen = AuditSettings(**{"flush_interval": 0.01, "flush_patience": 0.2} | settings)
            recorder = Recorder(book, service="things", settings=chosen)
            service = serving(add_things, Things(act), tokens.verifier, recorder=recorder)
            return await cleanup.enter_async_context(service)

        yield serve
