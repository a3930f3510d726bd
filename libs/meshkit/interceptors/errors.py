"""Turns what inner code raises into a status. The only place that aborts a call."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import grpc
import structlog
from grpc import aio

from meshkit.errors import DomainError
from meshkit.interceptors.chain import Call, Interceptor, Proceed
from meshkit.statuses import CODES, DETAILS_KEY, from_peer_error, to_status

log = structlog.get_logger()


class Errors(Interceptor):
    """Sends domain errors with their details, and hides everything else.

    An unexpected error is logged whole and answered as INTERNAL with nothing but
    the request id to quote.
    """

    async def around(self, call: Call, proceed: Proceed) -> Any:
        """Catch what the call raises and abort with its status."""
        try:
            return await proceed(call)
        except DomainError as error:
            if error.__cause__ is not None:
                log.info("refused", reason=error.reason, cause=repr(error.__cause__))
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


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _internal(call: Call) -> DomainError:
    return DomainError(f"Something went wrong inside; quote request id {call.ids.request_id}.")


async def _abort(call: Call, error: DomainError) -> NoReturn:
    status = to_status(error, call.ids.request_id)
    code: grpc.StatusCode = CODES[error.kind]
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await call.context.abort(code, status.message, details)
    raise AssertionError("abort always raises")  # pragma: no cover
