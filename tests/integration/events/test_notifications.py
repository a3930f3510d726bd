"""A listener hears what other sessions notify."""

from __future__ import annotations

from sqlalchemy import text

from meshkit.database.engine import Database
from meshkit.database.notifications import Notifications
from tests.integration.events.happenings import running, scalar
from tests.waiting import until

LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"


async def execute(database: Database, statement: str) -> None:
    await database.transaction(lambda tx: tx.execute(text(statement)))


async def test_a_listener_hears_and_is_told_to_look_after_each_connect(
    database: Database,
) -> None:
    heard: dict[str, list[str]] = {"first": [], "second": []}
    listening = Notifications(
        database.url, {"first": heard["first"].append, "second": heard["second"].append}
    )
    async with running(listening):
        await until(lambda: heard == {"first": [""], "second": [""]})
        await execute(database, "SELECT pg_notify('first', 'a'), pg_notify('third', 'x')")
        await until(lambda: heard == {"first": ["", "a"], "second": [""]})

        assert await scalar(database, f"SELECT count(pg_terminate_backend(pid)) {LISTENERS}") == 1
        await until(lambda: heard == {"first": ["", "a", ""], "second": ["", ""]})
        await execute(database, "SELECT pg_notify('second', 'b')")
        await until(lambda: heard["second"][-1] == "b")
