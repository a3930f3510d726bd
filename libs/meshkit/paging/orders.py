"""Orders of List requests: `order_by` after AIP-132.

    order_by = [ key { "," key } ]
    key      = field [ "asc" | "desc" ]

Ascending unless it says `desc`; spaces don't count beyond the one before the direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshkit.errors import InvalidArgument
from meshkit.filtering.fields import Fields, Kind
from meshkit.paging.tokens import SORTABLE_KINDS

MAX_FIELDS: Final = 2
"""Most fields that a caller may order by."""

_DIRECTIONS: Final = {"": False, "asc": False, "desc": True}
_SHOWN: Final = 64


@dataclass(frozen=True, slots=True)
class SortKey:
    """A field that rows are ordered by, and which way."""

    field: str
    kind: Kind
    descending: bool


@dataclass(frozen=True, slots=True)
class Ordering:
    """What rows are ordered by, the first key first; the last is unique."""

    keys: tuple[SortKey, ...]

    @property
    def one_way(self) -> bool:
        """Whether all keys are ordered the same way."""
        return len({key.descending for key in self.keys}) == 1

    def __str__(self) -> str:
        return ", ".join(f"{key.field} {'desc' if key.descending else 'asc'}" for key in self.keys)


NEWEST_FIRST: Final = Ordering((SortKey("id", Kind.UUID, descending=True),))
"""By the id alone, the newest first: ids begin with the time they were made at."""


def ordering(order_by: str, sortable: Fields, *, default: str, unique: str = "id") -> Ordering:
    """Read an `order_by`, or if it is blank, `default`.

    Rows that are equal in what it names are ordered by the field `unique`, in the
    direction of the last key; `sortable` has to have it, and it tells rows apart.

    Raises:
        InvalidArgument: It can't be read, or names what is not in `sortable`, or one twice,
            or more than two fields.
    """
    keys = [_key(part, sortable) for part in (order_by if order_by.strip() else default).split(",")]
    names = [key.field for key in keys]
    if len(keys) > MAX_FIELDS:
        raise _wrong(f"it names {len(keys)} fields; {MAX_FIELDS} are allowed", sortable)
    if len(set(names)) < len(names):
        raise _wrong("it names a field twice", sortable)
    if unique not in names:
        keys.append(SortKey(unique, sortable[unique].kind, keys[-1].descending))
    return Ordering(tuple(keys))


def _key(part: str, sortable: Fields) -> SortKey:
    name, _, direction = " ".join(part.split()).partition(" ")
    field_type = sortable.get(name)
    if field_type is None or field_type.kind not in SORTABLE_KINDS:
        raise _wrong(f"there is no field {name[:_SHOWN]!r} to order by", sortable)
    if direction not in _DIRECTIONS:
        raise _wrong(f"after {name} comes desc, asc or nothing", sortable)
    return SortKey(name, field_type.kind, _DIRECTIONS[direction])


def _wrong(problem: str, sortable: Fields) -> InvalidArgument:
    fields = [name for name, each in sortable.items() if each.kind in SORTABLE_KINDS]
    return InvalidArgument(
        f"Can't read order_by: {problem}. Write for example: {fields[0]} desc; "
        f"the fields are {', '.join(fields)}",
        reason="INVALID_ORDER_BY",
        field="order_by",
    )
