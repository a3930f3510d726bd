"""Reading orders, the tokens of pages in an order, and how pages are selected."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from uuid import UUID as Id  # noqa: N811 - beside the field type of that name

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, Text, Uuid

from mesh.common.v1.page_pb2 import CursorValue, PageCursor
from meshkit.errors import InvalidArgument
from meshkit.filtering import BOOLEAN, INTEGER, MAP, NUMBER, STRING, TIME, UUID, enum
from meshkit.paging import (
    DEFAULT_SIZE,
    NEWEST_FIRST,
    Keyset,
    Ordering,
    SortValue,
    beyond,
    keyset,
    keyset_page,
    ordering,
)

SORTABLE = {
    "id": UUID,
    "create_time": TIME,
    "priority": INTEGER,
    "name": STRING,
    "labels": MAP,
}
THINGS = Table(
    "things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("priority", Integer),
    Column("name", Text, nullable=False),
)
ID = Id(int=7)
Row = Mapping[str, SortValue]


class State(StrEnum):
    OPEN = "OPEN"


def order(order_by: str) -> Ordering:
    return ordering(order_by, SORTABLE, default="id desc")


@pytest.mark.parametrize(
    ("order_by", "wanted"),
    [
        ("", "id desc"),
        ("  ", "id desc"),
        ("name", "name asc, id asc"),
        ("name asc", "name asc, id asc"),
        ("create_time desc", "create_time desc, id desc"),
        (" create_time   desc ,priority", "create_time desc, priority asc, id asc"),
        ("priority,name desc", "priority asc, name desc, id desc"),
        ("id", "id asc"),
        ("id desc, name", "id desc, name asc"),
    ],
)
def test_an_order_ends_with_what_is_unique(order_by: str, wanted: str) -> None:
    assert str(order(order_by)) == wanted


def test_the_newest_come_first_by_their_id() -> None:
    assert order("id desc") == NEWEST_FIRST


@pytest.mark.parametrize(
    ("order_by", "complaint"),
    [
        ("colour", "there is no field 'colour' to order by"),
        ("labels", "there is no field 'labels' to order by"),
        ("name,", "there is no field '' to order by"),
        ("Name", "there is no field 'Name'"),
        ("name DESC", "after name comes desc, asc or nothing"),
        ("name desc desc", "after name comes desc, asc or nothing"),
        ("name, name desc", "it names a field twice"),
        ("name, priority, create_time", "it names 3 fields; 2 are allowed"),
    ],
)
def test_what_is_no_order_is_refused(order_by: str, complaint: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        order(order_by)
    assert refused.value.reason == "INVALID_ORDER_BY"
    assert [each.field for each in refused.value.violations] == ["order_by"]
    assert complaint in refused.value.message
    assert "the fields are id, create_time, priority, name" in refused.value.message


VALUES = {
    "id": st.uuids(),
    "create_time": st.none() | st.datetimes(timezones=st.just(UTC)),
    "priority": st.none() | st.integers(-(2**63), 2**63 - 1),
    "score": st.none() | st.floats(allow_nan=False),
    "name": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "urgent": st.none() | st.booleans(),
    "state": st.none() | st.sampled_from(State),
}
TYPES = SORTABLE | {"score": NUMBER, "urgent": BOOLEAN, "state": enum(State)}


@given(
    row=st.fixed_dictionaries(VALUES),
    fields=st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True),
    ways=st.lists(st.sampled_from(["asc", "desc"]), min_size=2, max_size=2),
)
def test_a_token_brings_the_last_row_to_the_next_page(
    row: Row, fields: list[str], ways: list[str]
) -> None:
    chosen = ordering(
        ",".join(f"{each} {way}" for each, way in zip(fields, ways, strict=False)),
        TYPES,
        default="id",
    )
    first = keyset(1, "", chosen, "acme")
    assert first.after is None
    following = keyset(0, token_after(row, first), chosen, "acme")
    assert following.after == tuple(row[key.field] for key in chosen.keys)
    assert following.size == DEFAULT_SIZE


def token(order_by: str, *query: str) -> str:
    row: Row = {"id": ID, "name": "a", "priority": None, "create_time": None}
    return token_after(row, keyset(1, "", order(order_by), *query))


def token_after(row: Row, wanted: Keyset) -> str:
    return keyset_page([row, row], wanted, lambda item: item).next_page_token


@given(query=st.lists(st.text(), max_size=3), other=st.lists(st.text(), max_size=3))
def test_a_token_is_good_for_its_query_only(query: list[str], other: list[str]) -> None:
    assume(query != other)
    with pytest.raises(InvalidArgument, match="start anew"):
        keyset(1, token("name", *query), order("name"), *other)


@given(data=st.data())
def test_anything_else_is_refused_for_what_it_is(data: st.DataObject) -> None:
    real = token("name")
    parts = st.integers(1, len(real) - 1).map(lambda end: real[:end])
    with pytest.raises(InvalidArgument) as refused:
        keyset(1, data.draw(st.text(min_size=1) | parts), order("name"))
    assert refused.value.reason == "INVALID_PAGE_TOKEN"
    assert refused.value.violations[0].field == "page_token"


@pytest.mark.parametrize("other", ["name desc", "name, priority", "priority", ""])
def test_a_token_is_good_for_its_order_only(other: str) -> None:
    with pytest.raises(InvalidArgument, match="start anew"):
        keyset(1, token("name"), order(other))


def test_an_order_may_be_written_anew_between_pages() -> None:
    assert keyset(1, token("name"), order(" name  asc")).after == ("a", ID)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [CursorValue(text="a")],
        [CursorValue(integer=1), CursorValue(uuid=ID.bytes)],
        [CursorValue(text="a"), CursorValue(uuid=b"short")],
        [CursorValue(text="a"), CursorValue(text=str(ID))],
        [CursorValue(time=Timestamp()), CursorValue(uuid=ID.bytes)],
        [CursorValue(text="a"), CursorValue(uuid=ID.bytes), CursorValue()],
    ],
)
def test_a_forged_token_is_refused(values: list[CursorValue]) -> None:
    with pytest.raises(InvalidArgument, match="start anew"):
        keyset(1, forged("name", values), order("name"))


@pytest.mark.parametrize(
    "moment",
    [Timestamp(seconds=10**18), Timestamp(seconds=-(10**18)), Timestamp(nanos=-1)],
)
def test_a_forged_time_is_refused(moment: Timestamp) -> None:
    values = [CursorValue(time=moment), CursorValue(uuid=ID.bytes)]
    with pytest.raises(InvalidArgument, match="start anew"):
        keyset(1, forged("create_time", values), order("create_time"))


def forged(order_by: str, values: list[CursorValue]) -> str:
    real = PageCursor.FromString(base64.urlsafe_b64decode(token(order_by) + "=="))
    cursor = PageCursor(query_digest=real.query_digest, values=values)
    return base64.urlsafe_b64encode(cursor.SerializeToString()).decode().rstrip("=")


def test_the_last_page_has_no_token() -> None:
    page = keyset_page([ID], keyset(1, "", NEWEST_FIRST), lambda item: {"id": item})
    assert page.next_page_token == ""
    assert list(page.items) == [ID]


@pytest.mark.parametrize(
    ("order_by", "after", "condition"),
    [
        ("id", [ID], "(id) > (?)"),
        ("name desc", ["a", ID], "(name, id) < (?, ?)"),
        ("name", ["a", ID], "(name, id) > (?, ?)"),
        ("priority desc", [1, ID], "(priority, id) < (?, ?)"),
        ("priority desc", [None, ID], "priority IS NOT NULL OR priority IS NULL AND id < ?"),
        ("priority", [None, ID], "false OR priority IS NULL AND id > ?"),
        ("priority", [1, ID], "priority > ? OR priority IS NULL OR priority = ? AND id > ?"),
        (
            "name desc, priority",
            ["a", 1, ID],
            """name <= ? AND (name < ? OR name = ? AND (priority > ? OR priority IS NULL)
 OR name = ? AND priority = ? AND id > ?)""".replace("\n", ""),
        ),
    ],
)
def test_rows_are_compared_whole_where_an_index_can_serve_it(
    order_by: str, after: list[SortValue], condition: str
) -> None:
    compiled = str(beyond(order(order_by), after, THINGS.c)).replace("things.", "")
    assert re.sub(r":\w+", "?", compiled) == condition


def test_a_time_comes_back_in_utc() -> None:
    here = datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    by_time = order("create_time")
    token = token_after({"id": ID, "create_time": here}, keyset(1, "", by_time))
    after = keyset(1, token, by_time).after
    assert after is not None
    assert after == (here, ID)
    assert str(after[0]) == "2026-01-31 03:30:00+00:00"
