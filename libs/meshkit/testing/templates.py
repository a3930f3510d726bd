"""What a migrated, empty database is like, so that one which was used can be made so again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SHAPE: Final = """
    WITH relation AS (
        SELECT oid, relname, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
    ), part (line) AS (
        SELECT concat_ws(' ', oid, relname, reloptions) FROM relation
        UNION ALL
        SELECT concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef)
        FROM pg_attribute JOIN relation ON relation.oid = attrelid
        UNION ALL
        SELECT concat_ws(' ', conrelid, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(' ', tgrelid, tgname, tgenabled) FROM pg_trigger
        UNION ALL
        SELECT concat_ws(' ', oid, prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT concat_ws(' ', 'statistics of', starelid) FROM pg_statistic
        JOIN relation ON relation.oid = starelid
        UNION ALL
        SELECT concat_ws(' ', setrole, setconfig) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM part
"""

# Emptied tables count as well: they have dead rows, and their sequences have moved.
_USED: Final = """
    SELECT array_agg(format('%I', relname)) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
"""

_END_OTHERS: Final = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Template:
    """A database from which others are cloned.

    Attributes:
        shape: Digest of all that rows don't tell: tables, constraints, settings, statistics.
        rows: What migrations have put into tables, as JSON, by table.
    """

    name: str
    shape: str
    rows: Mapping[str, str]

    @classmethod
    async def read(cls, name: str, connection: Any) -> Template:
        """Note what a migrated database is like."""
        rows = {
            table: await connection.fetchval(f"SELECT jsonb_agg({table}) FROM {table}")  # noqa: S608 - quoted by PostgreSQL
            for table in await _used(connection)
        }
        return cls(name, await connection.fetchval(_SHAPE), rows)

    async def restore(self, connection: Any) -> bool:
        """Make a clone as it was when it was new; return False if more than rows has changed.

        Ends all other sessions on it. What it has notified or counted stays so.
        """
        await connection.execute(_END_OTHERS)
        if await connection.fetchval(_SHAPE) != self.shape:
            return False
        # Some tables refuse by trigger to be emptied.
        await connection.execute("SET session_replication_role = replica")
        if used := await _used(connection):
            await connection.execute(f"TRUNCATE {', '.join(used)} RESTART IDENTITY CASCADE")
        for table, rows in self.rows.items():
            await connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"  # noqa: S608 - quoted by PostgreSQL
                f" SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)",
                rows,
            )
        return True


async def _used(connection: Any) -> list[str]:
    return list(await connection.fetchval(_USED) or ())
