"""Filters compiled for a real PostgreSQL select what they match in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.filtering import Filter, matches, parse, time_text, to_sql
from meshkit.testing.databases import ServiceDatabase
from tests.filters import FIELDS, Rows, filters, rows

THINGS = Table(
    "things",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("name", Text),
    Column("state", Text),
    Column("attempts", Integer),
    Column("latency", Double),
    Column("urgent", Boolean),
    Column("due_time", TIMESTAMP(timezone=True)),
    Column("owner_id", Uuid),
    Column("tags", ARRAY(Text)),
    Column("labels", JSONB(none_as_null=True)),
    Column("attributes", JSONB(none_as_null=True)),
)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    """Make a database with an empty table of things."""
    database = await service_database("auth")
    await database.transaction(lambda tx: tx.run_sync(THINGS.metadata.create_all))
    return database


def stored(row: dict[str, Any]) -> dict[str, Any]:
    attributes = row.get("attributes")
    if attributes is None:
        return row
    written = {
        key: time_text(value) if isinstance(value, datetime) else value
        for key, value in attributes.items()
    }
    return row | {"attributes": written}


async def store(tx: AsyncConnection, made: Rows) -> None:
    await tx.execute(THINGS.delete())
    numbered = [stored(row) | {"number": number} for number, row in enumerate(made)]
    await tx.execute(insert(THINGS), numbered)


async def selected(tx: AsyncConnection, wanted: Filter) -> list[int]:
    query = select(THINGS.c.number).where(to_sql(wanted, THINGS.c)).order_by(THINGS.c.number)
    return list((await tx.execute(query)).scalars())


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=rows, wanted=st.lists(filters, min_size=1, max_size=8))
async def test_a_filter_selects_the_rows_that_it_matches(
    database: Database, made: Rows, wanted: list[Filter]
) -> None:
    async def work(tx: AsyncConnection) -> None:
        await store(tx, made)
        for each in wanted:
            matched = [number for number, row in enumerate(made) if matches(each, row)]
            assert await selected(tx, each) == matched

    await database.transaction(work)


async def names(database: Database, expression: str) -> list[int]:
    wanted = parse(expression, FIELDS)
    assert wanted is not None
    condition = wanted
    return await database.transaction(lambda tx: selected(tx, condition))


async def test_a_comparison_of_numbers_passes_over_what_is_no_number(database: Database) -> None:
    values = [3, 2.5, "4", True, None, [4], {"amount": 4}, 10**30]
    made: Rows = [{"attributes": {"amount": value}} for value in values]
    await database.transaction(lambda tx: store(tx, [*made, {"attributes": {}}]))
    await database.transaction(
        lambda tx: tx.execute(
            text("""UPDATE things SET attributes = '{"amount": 1e400}' WHERE number = 7""")
        )
    )

    assert await names(database, "attributes.amount >= 3") == [0, 7]
    assert await names(database, "NOT attributes.amount < 3") == [0, 2, 3, 4, 5, 6, 7, 8]
    assert await names(database, "attributes.amount != 3") == [1, 2, 3, 4, 5, 6, 7]
    assert await names(database, "attributes.amount = 4") == []
    assert await names(database, "-attributes:amount") == [8]


@pytest.mark.parametrize(
    ("start", "found"), [("a_", [0]), ("a%", [1]), ("a\\\\", [2]), ("a", [0, 1, 2, 3])]
)
async def test_a_prefix_is_taken_as_it_is(database: Database, start: str, found: list[int]) -> None:
    made: Rows = [
        {"name": each, "labels": {"a": each}, "attributes": {"a": each}}
        for each in ("a_b", "a%b", "a\\b", "aab", "b")
    ]
    await database.transaction(lambda tx: store(tx, made))

    for field in ("name", "labels.a", "attributes.a"):
        assert await names(database, f'{field} = "{start}*"') == found
        others = [number for number in range(5) if number not in found]
        assert await names(database, f'{field} != "{start}*"') == others


async def test_an_integer_that_the_column_can_not_hold_is_compared_all_the_same(
    database: Database,
) -> None:
    made: Rows = [{"attempts": 1}, {"attempts": None}]
    await database.transaction(lambda tx: store(tx, made))

    assert await names(database, f"attempts < {2**40}") == [0]
    assert await names(database, f"attempts = {2**40}") == []


@pytest.mark.parametrize(
    ("index", "expression"),
    [
        ("USING gin (labels jsonb_path_ops)", "labels.team = red"),
        ("USING gin (labels)", "labels:team"),
        ("USING gin (attributes jsonb_path_ops)", "attributes.amount = 3"),
        ("USING gin (tags)", "tags:x"),
        ('(name COLLATE "C")', 'name > "m"'),
        ("(name text_pattern_ops)", 'name = "text.*"'),
        ("(attempts)", "attempts >= 3"),
    ],
)
async def test_an_index_can_serve_a_comparison(
    database: Database, index: str, expression: str
) -> None:
    wanted = parse(expression, FIELDS)
    assert wanted is not None
    query = select(THINGS.c.number).where(to_sql(wanted, THINGS.c))

    async def work(tx: AsyncConnection) -> str:
        statement = query.compile(dialect=tx.dialect, compile_kwargs={"literal_binds": True})
        await tx.execute(text(f"CREATE INDEX served ON things {index}"))
        await tx.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await tx.exec_driver_sql(f"EXPLAIN {statement}")
        return "\n".join(plan.scalars())

    assert "served" in await database.transaction(work)
