"""Pages of List requests (AIP-158) in an order that the caller chooses (AIP-132).

Pages go by keyset: the token of the next page carries what the last row of this one has
in the fields of the order, so that a page costs the same however far in it is, and rows
that come and go meanwhile neither repeat nor hide others.

    SORTABLE = {"id": UUID, "create_time": TIME, "priority": INTEGER}
    order = ordering(request.order_by, SORTABLE, default="create_time desc")
    wanted = keyset(request.page_size, request.page_token, order, tenant, request.filter)
    rows = await connection.execute(paged(select(table).where(condition), wanted, table.c))
    page = keyset_page([item(row) for row in rows], wanted, values)
    page.items, page.next_page_token

Rows without a value are ordered as PostgreSQL does unless told otherwise, which is what
its indexes do: after all others ascending, before them descending.
"""

from meshkit.paging.orders import MAX_FIELDS, NEWEST_FIRST, Ordering, SortKey, ordering
from meshkit.paging.pages import (
    DEFAULT_SIZE,
    Keyset,
    KeysetPage,
    keyset,
    keyset_page,
    token_after,
)
from meshkit.paging.sql import SortColumns, beyond, paged, sorting
from meshkit.paging.tokens import SortValue

__all__ = [
    "DEFAULT_SIZE",
    "MAX_FIELDS",
    "NEWEST_FIRST",
    "Keyset",
    "KeysetPage",
    "Ordering",
    "SortColumns",
    "SortKey",
    "SortValue",
    "beyond",
    "keyset",
    "keyset_page",
    "ordering",
    "paged",
    "sorting",
    "token_after",
]
