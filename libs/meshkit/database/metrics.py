"""Figures of the connection pool, for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

IN_USE = Gauge("agentmesh_db_connections_in_use", "Connections that work is being done on.")
OPEN = Gauge("agentmesh_db_connections_open", "Connections to the database.")
INVALIDATED = Counter("agentmesh_db_connections_invalidated", "Connections found broken.")


def observe_pool(engine: AsyncEngine) -> None:
    """Count the connections of an engine's pool as they come and go."""
    pool = engine.sync_engine.pool
    handed_out: set[ConnectionPoolEntry] = set()

    @event.listens_for(pool, "connect")
    def opened(*_: Any) -> None:
        OPEN.inc()

    @event.listens_for(pool, "close")
    def closed(*_: Any) -> None:
        OPEN.dec()

    @event.listens_for(pool, "checkout")
    def taken(_connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        handed_out.add(record)
        IN_USE.inc()

    @event.listens_for(pool, "checkin")
    def returned(_connection: Any, record: ConnectionPoolEntry) -> None:
        # One that could not be opened comes back without ever having been handed out.
        if record in handed_out:
            handed_out.remove(record)
            IN_USE.dec()

    @event.listens_for(pool, "invalidate")
    def invalidated(*_: Any) -> None:
        INVALIDATED.inc()
