"""Pages in the order of ids alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

from mesh.common.v1 import page_pb2
from meshkit.paging.tokens import decode_cursor, encode_cursor, token_invalid

DEFAULT_SIZE: Final = 50
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted: at most `size` items, after the one with id `after`."""

    size: int
    after: UUID | None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the id to go on after, unless these are the last."""

    items: Sequence[Item]
    next_after: UUID | None


def page_request(page_size: int, page_token: str, *query: str) -> PageRequest:
    """Decode the paging fields of a List request; `query` is what else selects the items.

    Raises:
        InvalidArgument: The token was not issued for this query.
    """
    size = page_size or DEFAULT_SIZE
    return PageRequest(size, _after(page_token, query) if page_token else None)


def page_token(page: Page[Item], *query: str) -> str:
    """Encode the token of the page after this one; empty if this is the last."""
    if page.next_after is None:
        return ""
    return encode_cursor(page_pb2.PageCursor(after=str(page.next_after)), query)


def page_of(items: Sequence[Item], request: PageRequest, key: Callable[[Item], UUID]) -> Page[Item]:
    """Make a page of up to `request.size + 1` items that were read to see if more follow."""
    kept = items[: request.size]
    return Page(kept, key(kept[-1]) if len(items) > request.size else None)


def _after(token: str, query: tuple[str, ...]) -> UUID:
    try:
        return UUID(decode_cursor(token, query).after)
    except ValueError as error:
        raise token_invalid() from error
