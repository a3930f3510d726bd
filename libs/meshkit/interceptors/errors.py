"""Turns what inner code raises into a status. The only place that aborts a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Any, NoReturn

import grpc
import structlog
from grpc import aio

from meshkit.errors import DomainError
from meshkit.interceptors.chain import Call, Interceptor, Proceed
from meshkit.statuses import CODES, DETAILS_KEY, from_peer_error, to_status

log = structlog.get_logger()

OnRefusal = Callable[[Call, DomainError], None]
"""Is told of each domain error that a call ends with."""


class Errors(Interceptor):
    """Sends domain errors with their details, and hides everything else.

    An unexpected error is logged whole and answered as INTERNAL with nothing but
    the request id to quote.
    """

    def __init__(self, on_refusal: OnRefusal | None = None) -> None:
        self._on_refusal = on_refusal

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Catch what the call raises and abort with its status."""
        try:
            return await proceed(call)
        except DomainError as error:
            self._note(call, error)
            await _abort(call, error)
        except aio.AbortError:
            raise
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            # Something inside was cancelled and not the call, whose caller waits for an answer.
            log.exception("unexpected cancellation", method=call.method)
            await _abort(call, _internal(call))
        except aio.AioRpcError as error:
            log.warning("peer failed", code=error.code().name, details=error.details())
            await _abort(call, from_peer_error(error))
        except Exception:
            log.exception("unexpected error", method=call.method)
            await _abort(call, _internal(call))

    def _note(self, call: Call, error: DomainError) -> None:
        if error.__cause__ is not None:
            log.info("refused", reason=error.reason, cause=repr(error.__cause__))
        if self._on_refusal is not None:
            self._on_refusal(call, error)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _internal(call: Call) -> DomainError:
    return DomainError(f"Something went wrong inside; quote request id {call.ids.request_id}.")


async def _abort(call: Call, error: DomainError) -> NoReturn:
    status = to_status(error, call.ids.request_id)
    code: grpc.StatusCode = CODES[error.kind]
    details: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if error.retry_after is not None:
        # What RetryInfo says, for those who speak HTTP: in whole seconds (RFC 9110, 10.2.3).
        details.append(("retry-after", str(ceil(error.retry_after))))
    await call.context.abort(code, status.message, tuple(details))
    raise AssertionError("abort always raises")  # pragma: no cover
