"""The clock of the task database, which can be moved.

Functions of the same names, found before PostgreSQL's own, add what the clock has been
moved by. So every session of every process sees the clock jump at once, as it would if
the server's host were set, and nothing else of the machine does.
"""

from __future__ import annotations

from typing import Any, Final

_SETUP: Final = """
    CREATE TABLE public.clock_moved (seconds double precision NOT NULL);
    INSERT INTO public.clock_moved VALUES (0);
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
        SELECT pg_catalog.clock_timestamp()
            + (SELECT seconds FROM public.clock_moved) * interval '1 second'
    $$;
    CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT pg_catalog.now()
            + (SELECT seconds FROM public.clock_moved) * interval '1 second'
    $$;
"""
_FIRST: Final = "ALTER DATABASE {} SET search_path = public, pg_catalog"


async def prepare(connection: Any, database: str) -> None:
    """Make the clock of a database movable, for the sessions that begin from now on."""
    await connection.execute(_SETUP)
    await connection.execute(_FIRST.format(database))


async def move(connection: Any, seconds: float) -> None:
    """Move the clock by so many seconds, ahead or back."""
    await connection.execute("UPDATE public.clock_moved SET seconds = seconds + $1", seconds)
