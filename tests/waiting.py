"""Waiting for what is about to be so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_PATIENCE = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds.

    Raises:
        TimeoutError: It doesn't within half a minute.
    """
    async with asyncio.timeout(_PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return once the awaited condition holds.

    Raises:
        TimeoutError: It doesn't within half a minute.
    """
    async with asyncio.timeout(_PATIENCE):
        while not await condition():
            await asyncio.sleep(0.002)
