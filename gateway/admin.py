"""Envoy's admin interface, as far as the gateway uses it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

TIMEOUT_SECONDS = 2.0


class AdminUnreachable(Exception):
    """The admin interface does not answer, or not as it should."""


@dataclass(frozen=True)
class Admin:
    """The admin interface at one address."""

    host: str
    port: int

    async def is_ready(self) -> bool:
        """Tell whether Envoy takes requests; False too while it can't be reached."""
        try:
            await self._call("GET", "/ready")
        except AdminUnreachable:
            return False
        return True

    async def drain(self) -> None:
        """Ask callers to leave and accept no further connections; running requests go on.

        Raises:
            AdminUnreachable: Envoy does not answer.
        """
        # The first makes Envoy announce the end on open connections, the second closes the port.
        await self._call("POST", "/drain_listeners?graceful&skip_exit")
        await self._call("POST", "/drain_listeners")

    async def active_requests(self, stat_prefix: str) -> int:
        """Count the requests that run now.

        Raises:
            AdminUnreachable: Envoy does not answer.
        """
        name = f"http.{stat_prefix}.downstream_rq_active"
        stats = json.loads(await self._call("GET", f"/stats?format=json&filter=^{name}$"))
        return sum(int(stat["value"]) for stat in stats["stats"] if stat.get("name") == name)

    async def _call(self, method: str, target: str) -> bytes:
        try:
            return await asyncio.to_thread(self._exchange, method, target)
        except (OSError, HTTPException) as error:
            raise AdminUnreachable(f"{method} {target}: {error}") from error

    def _exchange(self, method: str, target: str) -> bytes:
        connection = HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, target)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise AdminUnreachable(f"{method} {target}: status {response.status}")
        return body
