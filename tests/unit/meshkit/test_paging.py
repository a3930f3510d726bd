"""Pages and their tokens."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.paging import DEFAULT_SIZE, Page, PageRequest, page_of, page_request, page_token

QUERY = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3)
ID = UUID("01890000-0000-7000-8000-000000000000")
TOKEN = page_token(Page([ID], ID), "acme", "state = x")


@given(after=st.uuids(), query=QUERY)
def test_a_token_brings_its_query_to_the_next_page(after: UUID, query: list[str]) -> None:
    token = page_token(Page([after], after), *query)
    assert page_request(0, token, *query) == PageRequest(DEFAULT_SIZE, after)


@given(query=QUERY, other=QUERY)
def test_a_token_is_good_for_its_query_only(query: list[str], other: list[str]) -> None:
    assume(query != other)
    with pytest.raises(InvalidArgument, match="start anew"):
        page_request(1, page_token(Page([ID], ID), *query), *other)


def test_a_text_with_a_separator_is_not_two_texts() -> None:
    with pytest.raises(InvalidArgument):
        page_request(1, page_token(Page([ID], ID), "a\0b"), "a", "b")


@given(token=st.text(min_size=1) | st.integers(1, len(TOKEN) - 1).map(lambda end: TOKEN[:end]))
def test_anything_else_is_refused_for_what_it_is(token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        page_request(1, token, "acme", "state = x")
    assert refused.value.reason == "INVALID_PAGE_TOKEN"
    assert refused.value.violations[0].field == "page_token"


@given(total=st.integers(0, 12), size=st.integers(1, 5))
def test_pages_hold_each_item_once_and_the_last_says_so(total: int, size: int) -> None:
    ids = [UUID(int=number) for number in range(1, total + 1)]
    seen: list[UUID] = []
    token, pages = "", 0
    while token or not pages:
        request = page_request(size, token)
        rest = [each for each in ids if request.after is None or each > request.after]
        page = page_of(rest[: size + 1], request, lambda each: each)
        seen += page.items
        token, pages = page_token(page), pages + 1
    assert seen == ids
    assert pages == max(1, -(-total // size))
