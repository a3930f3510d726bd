"""Which page is wanted, and the page that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mesh.common.v1 import page_pb2
from meshkit.paging.orders import Ordering
from meshkit.paging.tokens import (
    SortValue,
    decode_cursor,
    decode_value,
    encode_cursor,
    encode_value,
    token_invalid,
)

DEFAULT_SIZE: Final = 50
"""Most items of a page whose caller doesn't say."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Keyset:
    """Which page is wanted.

    Attributes:
        size: At most so many items.
        ordering: What they are ordered by.
        after: What the item before the first has in the fields of the order; None on the
            first page.
        query: What else selects the items.
    """

    size: int
    ordering: Ordering
    after: tuple[SortValue, ...] | None
    query: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[Item]):
    """Some items, and the token of the page after them, empty if these are the last."""

    items: Sequence[Item]
    next_page_token: str


def keyset(page_size: int, page_token: str, ordering: Ordering, *query: str) -> Keyset:
    """Decode the paging fields of a List request; `query` is what else selects the items.

    Raises:
        InvalidArgument: The token was not issued for this query and order.
    """
    after = _after(page_token, ordering, query) if page_token else None
    return Keyset(page_size or DEFAULT_SIZE, ordering, after, query)


def keyset_page(
    items: Sequence[Item], wanted: Keyset, values: Callable[[Item], Mapping[str, SortValue]]
) -> KeysetPage[Item]:
    """Make a page of up to `wanted.size + 1` items that were read to see if more follow.

    `values` gives what an item has in the fields of the order, and may give others.
    """
    kept = items[: wanted.size]
    more = len(items) > wanted.size
    return KeysetPage(kept, token_after(wanted, values(kept[-1])) if more else "")


def token_after(wanted: Keyset, values: Mapping[str, SortValue]) -> str:
    """Make the token of a page that begins after a place, whether an item is there or not.

    `values` gives what an item there would have in the fields of the order.
    """
    keys = wanted.ordering.keys
    cursor = page_pb2.PageCursor(values=[encode_value(key.kind, values[key.field]) for key in keys])
    return encode_cursor(cursor, _bound(wanted.ordering, wanted.query))


def _after(token: str, ordering: Ordering, query: tuple[str, ...]) -> tuple[SortValue, ...]:
    written = decode_cursor(token, _bound(ordering, query)).values
    if len(written) != len(ordering.keys):
        raise token_invalid()
    return tuple(
        decode_value(key.kind, value) for key, value in zip(ordering.keys, written, strict=True)
    )


def _bound(ordering: Ordering, query: tuple[str, ...]) -> tuple[str, ...]:
    return (str(ordering), *query)
