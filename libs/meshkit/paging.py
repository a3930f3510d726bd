"""Keyset pages with opaque tokens (AIP-158)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError

from mesh.common.v1 import page_pb2
from meshkit.errors import InvalidArgument

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
    cursor = page_pb2.PageCursor(after=str(page.next_after), query_digest=_digest(query))
    return base64.urlsafe_b64encode(cursor.SerializeToString()).decode().rstrip("=")


def page_of(items: Sequence[Item], request: PageRequest, key: Callable[[Item], UUID]) -> Page[Item]:
    """Make a page of up to `request.size + 1` items that were read to see if more follow."""
    kept = items[: request.size]
    return Page(kept, key(kept[-1]) if len(items) > request.size else None)


def _after(token: str, query: tuple[str, ...]) -> UUID:
    try:
        padded = token + "=" * (-len(token) % 4)
        cursor = page_pb2.PageCursor.FromString(base64.b64decode(padded, "-_", validate=True))
        after = UUID(cursor.after)
    except (binascii.Error, DecodeError, ValueError) as error:
        raise _invalid() from error
    if cursor.query_digest != _digest(query):
        raise _invalid()
    return after


def _digest(query: tuple[str, ...]) -> bytes:
    return hashlib.sha256(json.dumps(query).encode()).digest()[:8]


def _invalid() -> InvalidArgument:
    return InvalidArgument(
        "The page token was not issued for this query; leave it out to start anew.",
        reason="INVALID_PAGE_TOKEN",
        field="page_token",
    )
