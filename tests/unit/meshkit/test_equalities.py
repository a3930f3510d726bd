"""Reading filters that are equalities joined by AND."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.filtering import parse_filter

FIELDS = ("state", "name", "capability")
TERMS = st.dictionaries(st.sampled_from(FIELDS), st.text())


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(terms=TERMS, space=st.sampled_from([" ", "  ", "\n"]))
def test_what_is_written_is_read(terms: dict[str, str], space: str) -> None:
    written = f"{space}AND{space}".join(
        f"{field}{space}={space}{quoted(value)}" for field, value in terms.items()
    )
    assert parse_filter(written, FIELDS) == terms


@pytest.mark.parametrize("value", ["RUNNING", "text.count", "a-b:c_1", "ANDROID"])
def test_a_plain_value_needs_no_quotes(value: str) -> None:
    assert parse_filter(f"name={value} AND state = x", FIELDS) == {"name": value, "state": "x"}


@pytest.mark.parametrize(
    "expression",
    [
        "name",
        "name =",
        "= a",
        "name = a b",
        "name = a AND",
        "AND name = a",
        "name = a name = b",
        "name = a ANDstate = b",
        "name = a OR state = b",
        "name = a AND name = a",
        "colour = red",
        "Name = a",
        'name = "a',
        'name = "a" "b"',
        "name != a",
        "name = a AND AND state = b",
    ],
)
def test_what_can_not_be_read_is_refused(expression: str) -> None:
    with pytest.raises(InvalidArgument, match="write for example") as refused:
        parse_filter(expression, FIELDS)
    assert refused.value.reason == "INVALID_FILTER"
    assert [each.field for each in refused.value.violations] == ["filter"]


@given(expression=st.text(alphabet='abstename =AND"\\', max_size=40))
def test_nothing_else_comes_of_any_text(expression: str) -> None:
    with suppress(InvalidArgument):
        assert set(parse_filter(expression, FIELDS)) <= set(FIELDS)
