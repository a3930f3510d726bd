"""Runs plain functions beside the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a thread of its own and return what it returns.

    The thread doesn't keep the process alive, so a function that hangs doesn't keep
    an agent from leaving. A cancelled caller goes on; the function does too, for a
    thread can't be stopped, and what it returns is dropped.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def work() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = context.run(function, *arguments)
        except StopIteration as error:
            # A future takes no StopIteration: it would end whoever awaits it in silence.
            failure = RuntimeError(f"the function raised StopIteration({error})")
        except BaseException as error:  # noqa: BLE001 - handed on to who awaits
            failure = error
        # The loop may have ended before the function did.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name=f"agentmesh {function.__name__}", daemon=True).start()
    return await outcome
