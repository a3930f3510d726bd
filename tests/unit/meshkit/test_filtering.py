"""Reading filters, and evaluating them in memory."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.filtering import (
    MAX_DEPTH,
    MAX_TERMS,
    And,
    Comparison,
    Contains,
    Entry,
    Filter,
    HasKey,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
    matches,
    parse,
)
from tests.filters import FIELDS, State, filters, written

PIECES = ["name", "labels.a", "attributes", "=", ":", "<", "(", ")", "-", "NOT", "AND", "OR"]
PIECES += ['"x', '"', "1", "true", "*", "\\"]
EQ, NE, LT, GE = Operator.EQ, Operator.NE, Operator.LT, Operator.GE
NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)
A, B, C = (Comparison("name", EQ, each) for each in "abc")


def read(expression: str) -> Filter:
    wanted = parse(expression, FIELDS)
    assert wanted is not None
    return wanted


def refused(expression: str) -> str:
    with pytest.raises(InvalidArgument) as refusal:
        parse(expression, FIELDS)
    assert refusal.value.reason == "INVALID_FILTER"
    assert [each.field for each in refusal.value.violations] == ["filter"]
    assert 'Write for example: name = "text*" AND state = OPEN' in refusal.value.message
    return refusal.value.message


@given(wanted=filters)
def test_what_is_written_is_read(wanted: Filter) -> None:
    assert parse(written(wanted), FIELDS) == wanted


@pytest.mark.parametrize("expression", ["", "  ", "\n"])
def test_a_blank_filter_selects_everything(expression: str) -> None:
    assert parse(expression, FIELDS) is None


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("name=a AND name=b OR name=c", And((A, Or((B, C))))),
        ("name=a OR name=b AND name=c", And((Or((A, B)), C))),
        ("(name=a AND name=b) OR name=c", Or((And((A, B)), C))),
        ("-name=a AND NOT name=b", And((Not(A), Not(B)))),
        ("-(name=a OR name=b)", Not(Or((A, B)))),
        ("NOT(name=a)", Not(A)),
        ("NOT (NOT name=a)", Not(Not(A))),
        ("((name=a))", A),
    ],
)
def test_or_binds_tighter_than_and(expression: str, wanted: Filter) -> None:
    assert read(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("name = text.count", Comparison("name", EQ, "text.count")),
        ("name=a-b:c_1", Comparison("name", EQ, "a-b:c_1")),
        ("name = ANDROID", Comparison("name", EQ, "ANDROID")),
        (r"name = 'a \'quote\''", Comparison("name", EQ, "a 'quote'")),
        (r'name = "\"a\\"', Comparison("name", EQ, '"a\\')),
        ("name = 3", Comparison("name", EQ, "3")),
        ("name != ab*", Comparison("name", NE, Prefix("ab"))),
        ('name = "a b*"', Comparison("name", EQ, Prefix("a b"))),
        (r'name = "ab\*"', Comparison("name", EQ, "ab*")),
        ("name = *", Comparison("name", EQ, Prefix(""))),
        ("name:*", Comparison("name", NE, "")),
        ("attempts >= -3", Comparison("attempts", GE, -3)),
        ('attempts >= "3"', Comparison("attempts", GE, 3)),
        ("latency < 2.5e-1", Comparison("latency", LT, 0.25)),
        ("urgent = true", Comparison("urgent", EQ, True)),
        ("due_time < 2026-01-31T09:00:00Z", Comparison("due_time", LT, NINE)),
        ("due_time < 2026-01-31t10:30:00.0+01:30", Comparison("due_time", LT, NINE)),
        ("due_time:*", Present("due_time")),
        (f"owner_id = {str(UUID(int=10)).upper()}", Comparison("owner_id", EQ, UUID(int=10))),
        ("tags:x", Contains("tags", "x")),
        ("tags = x", Contains("tags", "x")),
        ("labels:team", HasKey("labels", "team")),
        ('labels:"a team"', HasKey("labels", "a team")),
        ("labels.team:*", HasKey("labels", "team")),
        ("labels.team = 3", Entry("labels", "team", EQ, "3")),
        ("labels.team:red", Entry("labels", "team", EQ, "red")),
        ('labels."a.b/c" = x', Entry("labels", "a.b/c", EQ, "x")),
        ("attributes.amount >= 3", Entry("attributes", "amount", GE, Decimal(3))),
        ('attributes.amount = "3"', Entry("attributes", "amount", EQ, "3")),
        ("attributes.done = false", Entry("attributes", "done", EQ, False)),
        ("attributes.at = 2026-01-31T09:00:00Z", Entry("attributes", "at", EQ, NINE)),
        ('attributes.x = "null"', Entry("attributes", "x", EQ, "null")),
        ("attributes.x = re*", Entry("attributes", "x", EQ, Prefix("re"))),
    ],
)
def test_values_are_read_by_the_type_of_their_field(expression: str, wanted: Filter) -> None:
    assert read(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("name", "at the end: expected one of =, !=, <=, <, >=, >, :"),
        ("name =", "at the end: expected a value"),
        ("= a", "at character 1, '= a': expected a field"),
        ("name = a b", "at character 10, 'b': expected AND, OR or the end"),
        ("name = a AND", "at the end: expected a field"),
        ("name = a ANDstate = OPEN", "at character 10, 'ANDstate = OPEN': expected AND"),
        ("NOT NOT name = a", "at character 5"),
        ("name = AND", "at character 8, 'AND': expected a value"),
        ("(name = a", "at the end: expected AND, OR or )"),
        ("name = a)", "at character 9, ')': expected AND, OR or the end"),
        ('name = "a', "these quotes are not closed"),
        ('name = "a" "b"', "expected AND, OR or the end"),
        ("colour = red", "there is no field 'colour' to filter by; there are name, state, att"),
        ("Name = a", "expected a field"),
        ("name == a", "expected a value"),
        ("name = a*b", "at its end only"),
        ("name = *b", "at its end only"),
        ("name < a*", "a * is for texts, compared by = and !="),
        ("name:a", "a colon asks whether there is a value: name:*"),
        ("name = a\0", "NUL"),
        ("name.key = a", "'name' is a text and has no keys"),
        ("state < OPEN", "'state' is compared by =, !=, :, not <"),
        ("state = open", "'open' is not one of OPEN, DONE"),
        ('state = ""', "'' is not one of OPEN, DONE"),
        ("state = OP*", "a * is for texts"),
        ("attempts = 1.5", "'1.5' is not a whole number of up to 64 bits"),
        (f"attempts = {2**63}", "not a whole number of up to 64 bits"),
        ("latency = 1e999", "not a number of double precision"),
        ("latency = nan", "'nan' is not a number"),
        ("urgent = yes", "'yes' is neither true nor false"),
        ("urgent > true", "'urgent' is compared by =, !=, :, not >"),
        ("due_time = 2026-02-30T00:00:00Z", "is not a time such as 2026-01-31T09:00:00Z"),
        ("due_time = 2026-01-31", "is not a time such as"),
        ("due_time = 0001-01-01T00:00:00+14:00", "is not a time such as"),
        ("owner_id = x", "'x' is not a UUID"),
        ("owner_id = " + "x" * 900, "xxx…' is not a UUID"),
        ("tags != x", "'tags' is compared by =, :, not !="),
        ("tags:x*", "whole elements"),
        ("labels = x", "'labels' is a map: compare labels.key, or ask labels:key"),
        ("labels:x*", "'labels' is a map"),
        ("labels.a.b = x", 'put a key with a dot in quotes: map."a.b"'),
        ("labels. = x", "expected a key"),
        ("attributes.x < true", "compared by = and != only"),
        ("attributes.x = null", "no value is null"),
    ],
)
def test_what_can_not_be_read_is_refused_for_what_it_is(expression: str, complaint: str) -> None:
    message = refused(expression)
    assert complaint in message
    assert len(message) < 400


def test_a_filter_has_a_bounded_number_of_comparisons() -> None:
    terms = ["name = a"] * MAX_TERMS
    read(" AND ".join(terms))
    assert f"more than {MAX_TERMS} comparisons" in refused(" OR ".join([*terms, "name = a"]))


def test_parentheses_go_to_a_bounded_depth() -> None:
    read("(" * MAX_DEPTH + "name = a" + ")" * MAX_DEPTH)
    read(" AND ".join(["(name = a)"] * (MAX_DEPTH + 1)))
    assert "parentheses" in refused("-(" * (MAX_DEPTH + 1) + "name = a" + ")" * (MAX_DEPTH + 1))


@given(
    expression=st.text(alphabet="astebeml.:=!<>-()ANDORT *\"'\\13", max_size=40)
    | st.lists(st.sampled_from(PIECES)).map(" ".join)
)
def test_nothing_else_comes_of_any_text(expression: str) -> None:
    with suppress(InvalidArgument):
        parse(expression, FIELDS)


ROW = {
    "name": "text.count",
    "state": State.OPEN,
    "attempts": 2,
    "latency": 0.5,
    "urgent": False,
    "due_time": NINE,
    "owner_id": UUID(int=1),
    "tags": ("x", "y"),
    "labels": {"team": "red", "floor": "10"},
    "attributes": {"amount": 3.0, "count": 7, "note": "3", "paid": True, "at": NINE, "none": None},
}


@pytest.mark.parametrize(
    "expression",
    [
        "state = OPEN AND attempts >= 2 AND latency < 1 AND urgent = false AND urgent != true",
        "name = text* AND name != csv* AND name > text.c AND name:*",
        "due_time <= 2026-01-31T09:00:00Z AND due_time:*",
        "owner_id = 00000000-0000-0000-0000-000000000001 AND tags:x AND NOT tags:z",
        "labels:team AND labels.team = re* AND labels.floor < 9",
        "attributes.amount >= 3 AND attributes.amount < 3.5 AND attributes.count = 7",
        "attributes.paid = true AND attributes:none AND attributes.at = 2026-01-31T09:00:00Z",
        "attributes.at > 2026-01-31T08:59:59.999Z AND attributes.at != 2025*",
        "attributes.note != 3 AND attributes.note = '3' AND NOT attributes.note >= 3",
        "attributes.none != 3 AND attributes.paid != 1 AND -attributes.paid > 0",
    ],
)
def test_a_row_matches_what_is_true_of_it(expression: str) -> None:
    assert matches(read(expression), ROW)
    assert matches(read(expression), ROW.get)
    assert not matches(read(f"NOT ({expression})"), ROW)


@pytest.mark.parametrize(
    "comparison",
    [
        "name = a",
        "name != a",
        "name < a",
        "name = *",
        "name:*",
        "state = OPEN",
        "attempts != 3",
        "due_time:*",
        "tags:x",
        "labels:team",
        "labels.team != red",
        "attributes.amount < 3",
    ],
)
def test_no_comparison_is_true_of_what_is_absent(comparison: str) -> None:
    for row in ({}, dict.fromkeys(FIELDS)):
        assert not matches(read(comparison), row)
        assert matches(read(f"-{comparison}"), row)
    assert not matches(read("labels.team != red OR attributes.x != 3"), {"labels": {}})


def test_times_are_the_same_in_every_zone() -> None:
    elsewhere = NINE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    wanted = read("attributes.at = 2026-01-31T09:00:00Z AND due_time = 2026-01-31T09:00:00Z")
    assert matches(wanted, {"due_time": elsewhere, "attributes": {"at": elsewhere}})
