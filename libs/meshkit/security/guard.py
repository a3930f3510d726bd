"""What a service hears from auth, and tells it, beside its calls: revocations, uses of keys."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from grpc import aio

from mesh.auth.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    guard_service_pb2,
    guard_service_pb2_grpc,
)
from meshkit.errors import DomainError
from meshkit.security.api_keys import CachedApiKeys
from meshkit.security.revocations import Revocation, Revoked

log = structlog.get_logger()

_BACKOFF_SECONDS: Final = (0.1, 5.0)
_TELL_SECONDS: Final = 30.0
_LAST_WORD_SECONDS: Final = 1.0


async def watch_revocations(channel: aio.Channel, revoked: Revoked) -> None:
    """Hold a stream of what auth revokes, until cancelled.

    While the stream is broken what was verified is trusted for as long as it is cached; once it
    is back, what was revoked meanwhile comes first.
    """
    stub = guard_service_pb2_grpc.GuardServiceStub(channel)
    delay, longest = _BACKOFF_SECONDS
    while True:
        try:
            async for message in stub.WatchRevocations(guard_service_pb2.WatchRevocationsRequest()):
                delay = _BACKOFF_SECONDS[0]
                revoked.take(
                    Revocation(each.credential, each.not_before.ToDatetime(UTC))
                    for each in message.revocations
                )
        except (aio.AioRpcError, DomainError) as error:
            log.info("revocations are not heard of", cause=str(error)[:200])
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
        delay = min(delay * 2, longest)


class KeyUses:
    """Tells auth now and then how often keys were used here, never in a call's own time.

    What a crash loses is at most half a minute of counts.
    """

    def __init__(self, channel: aio.Channel, api_keys: CachedApiKeys) -> None:
        self._stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._api_keys = api_keys

    async def run(self) -> None:
        """Tell until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(_TELL_SECONDS)
                await self._tell()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._tell()

    async def _tell(self) -> None:
        now = datetime.now(UTC)
        request = auth_service_pb2.CountKeyUsesRequest()
        for key_id, count in self._api_keys.take_uses().items():
            if _is_uuid(key_id):
                uses = request.uses.add(api_key_id=key_id, count=count)
                uses.last_time.FromDatetime(now)
        if not request.uses:
            return
        try:
            await self._stub.CountKeyUses(request)
        except (aio.AioRpcError, DomainError) as error:
            log.info("uses of keys are not counted", keys=len(request.uses), cause=str(error)[:200])


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
