"""Pages of a real PostgreSQL's rows, in any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID as Id  # noqa: N811 - beside the field type of that name

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Double, Integer, MetaData, Row, Table, Text, Uuid, insert, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.database.engine import Database
from meshkit.filtering import INTEGER, NUMBER, STRING, TIME, UUID
from meshkit.paging import KeysetPage, Ordering, keyset, keyset_page, ordering, paged
from meshkit.testing.databases import ServiceDatabase

THINGS: Final = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("priority", Integer),
    Column("score", Double),
    Column("due_time", TIMESTAMP(timezone=True)),
)
SORTABLE: Final = {
    "id": UUID,
    "name": STRING,
    "priority": INTEGER,
    "score": NUMBER,
    "due_time": TIME,
}
NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)

Things = list[dict[str, Any]]
things: st.SearchStrategy[Things] = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.uuids(),
            "name": st.text(alphabet="aAbé 😀", max_size=2),
            "priority": st.none() | st.integers(-1, 1),
            "score": st.none() | st.sampled_from([0.1, 0.2, -1e308]),
            "due_time": st.none() | st.integers(-1, 1).map(lambda n: NOON + timedelta(0, 0, n)),
        }
    ),
    max_size=12,
    unique_by=lambda row: row["id"],
)
keys = st.builds("{} {}".format, st.sampled_from(sorted(SORTABLE)), st.sampled_from(["", "desc"]))
orders = st.lists(keys, min_size=1, max_size=2, unique_by=lambda key: key.split()[0]).map(",".join)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    """Make a database with an empty table of things."""
    database = await service_database("auth")
    await database.transaction(lambda tx: tx.run_sync(THINGS.metadata.create_all))
    return database


async def store(tx: AsyncConnection, made: Things) -> None:
    await tx.execute(THINGS.delete())
    if made:
        await tx.execute(insert(THINGS), made)


async def read(tx: AsyncConnection, order: Ordering, size: int, token: str) -> KeysetPage[Row[Any]]:
    wanted = keyset(size, token, order, "acme")
    rows = (await tx.execute(paged(select(*THINGS.c), wanted, THINGS.c))).all()
    return keyset_page(rows, wanted, lambda row: row._asdict())


async def read_all(tx: AsyncConnection, order: Ordering, size: int) -> list[list[Id]]:
    page = await read(tx, order, size, "")
    pages = [[row.id for row in page.items]]
    while page.next_page_token:
        page = await read(tx, order, size, page.next_page_token)
        pages.append([row.id for row in page.items])
    return pages


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=things, order_by=orders, size=st.integers(1, 4))
async def test_pages_hold_every_row_once_in_order(
    database: Database, made: Things, order_by: str, size: int
) -> None:
    order = ordering(order_by, SORTABLE, default="id")

    async def work(tx: AsyncConnection) -> None:
        await store(tx, made)
        [whole] = await read_all(tx, order, 1000)
        pages = await read_all(tx, order, size)
        assert sorted(whole) == sorted(row["id"] for row in made)
        assert [each for page in pages for each in page] == whole
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
        assert len(pages) == max(1, -(-len(made) // size))

    await database.transaction(work)


def made_of(priorities: list[int | None]) -> Things:
    return [
        {"id": Id(int=number), "name": "", "priority": priority, "score": None, "due_time": None}
        for number, priority in enumerate(priorities, 1)
    ]


@pytest.mark.parametrize(
    ("order_by", "wanted"),
    [("priority", [4, 2, 1, 3, 5]), ("priority desc", [5, 3, 1, 2, 4]), ("", [5, 4, 3, 2, 1])],
)
async def test_rows_without_a_value_come_last_ascending_and_first_descending(
    database: Database, order_by: str, wanted: list[int]
) -> None:
    order = ordering(order_by, SORTABLE, default="id desc")
    await database.transaction(lambda tx: store(tx, made_of([2, 1, None, 0, None])))
    pages = await database.transaction(lambda tx: read_all(tx, order, 2))
    assert [each.int for page in pages for each in page] == wanted


async def test_a_page_goes_on_after_a_row_that_is_gone_or_has_moved(database: Database) -> None:
    order = ordering("priority", SORTABLE, default="id")

    async def work(tx: AsyncConnection) -> list[int]:
        await store(tx, made_of([1, 2, 3, 4]))
        first = await read(tx, order, 2, "")
        await tx.execute(THINGS.delete().where(THINGS.c.priority == 2))
        await tx.execute(THINGS.update().where(THINGS.c.priority == 1).values(priority=0))
        rest = await read(tx, order, 2, first.next_page_token)
        return [row.id.int for row in rest.items]

    assert await database.transaction(work) == [3, 4]


async def test_a_number_that_no_row_can_have_is_gone_past(database: Database) -> None:
    """As a forged token may have one."""
    order = ordering("priority", SORTABLE, default="id")
    forged = keyset_page(
        [2**40] * 2, keyset(1, "", order, "acme"), lambda n: {"id": Id(int=0), "priority": n}
    ).next_page_token

    async def work(tx: AsyncConnection) -> list[Any]:
        await store(tx, made_of([1, None]))
        return [each.priority for each in (await read(tx, order, 2, forged)).items]

    assert await database.transaction(work) == [None]
