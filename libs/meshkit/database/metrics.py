"""Figures of the connection pool, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

IN_USE = Gauge("agentmesh_db_connections_in_use", "Connections that work is being done on.")
OPEN = Gauge("agentmesh_db_connections_open", "Connections to the database.")
INVALIDATED = Counter("agentmesh_db_connections_invalidated", "Connections found broken.")


def observe_pool(engine: AsyncEngine) -> None:
    """Count the connections of an engine's pool as they come and go."""
    pool = engine.sync_engine.pool

    @event.listens_for(pool, "connect")
    def opened(*_: Any) -> None:
        OPEN.inc()

    @event.listens_for(pool, "close")
    def closed(*_: Any) -> None:
        OPEN.dec()

    @event.listens_for(pool, "checkout")
    def taken(*_: Any) -> None:
        IN_USE.inc()

    @event.listens_for(pool, "checkin")
    def returned(*_: Any) -> None:
        IN_USE.dec()

    @event.listens_for(pool, "invalidate")
    def invalidated(*_: Any) -> None:
        INVALIDATED.inc()
