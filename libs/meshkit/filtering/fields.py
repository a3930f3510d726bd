"""The types of the fields that a resource may be filtered and ordered by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from meshkit.filtering.tree import Operator

_EQUALITY: Final = frozenset({Operator.EQ, Operator.NE})
_ORDER: Final = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
_EVERY: Final = frozenset(Operator)


class Kind(StrEnum):
    """What sort of values a field has."""

    STRING = "a text"
    ENUM = "one of some names"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TIME = "a time such as 2026-01-31T09:00:00Z"
    UUID = "a UUID"
    STRINGS = "a list of texts"
    STRING_MAP = "a map of texts"
    MAP = "a map"


_EXAMPLES: Final = {
    Kind.STRING: 'name = "text*"',
    Kind.ENUM: "name = X",
    Kind.INTEGER: "name >= 3",
    Kind.NUMBER: "name >= 0.5",
    Kind.BOOLEAN: "name = true",
    Kind.TIME: "name >= 2026-01-31T09:00:00Z",
    Kind.UUID: "name = 01890000-0000-7000-8000-000000000000",
    Kind.STRINGS: 'name:"text"',
    Kind.STRING_MAP: 'name.key = "text"',
    Kind.MAP: "name.key >= 3",
}


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field; `values` are those of an enum.

    Attributes:
        operators: What the field may be compared by. HAS takes `*` alone, for whether there
            is a value, save of lists and of the entries of maps.
    """

    kind: Kind
    operators: frozenset[Operator]
    values: tuple[str, ...] = ()

    @property
    def is_map(self) -> bool:
        """Whether comparisons are with the entries of the field."""
        return self.kind in (Kind.MAP, Kind.STRING_MAP)

    def example(self, name: str) -> str:
        """Write a comparison with a field of this type."""
        first = self.values[0] if self.values else ""
        return _EXAMPLES[self.kind].replace("name", name, 1).replace("X", first)


Fields = Mapping[str, FieldType]
"""The fields that there are, by name."""

STRING: Final = FieldType(Kind.STRING, _EVERY)
"""A text."""

INTEGER: Final = FieldType(Kind.INTEGER, _EVERY)
"""A whole number of up to 64 bits."""

NUMBER: Final = FieldType(Kind.NUMBER, _EVERY)
"""A finite number of double precision."""

BOOLEAN: Final = FieldType(Kind.BOOLEAN, _EQUALITY | {Operator.HAS})
"""A truth value."""

TIME: Final = FieldType(Kind.TIME, _EVERY)
"""A moment, with its offset from UTC."""

UUID: Final = FieldType(Kind.UUID, _EQUALITY | {Operator.HAS})
"""An id."""

STRINGS: Final = FieldType(Kind.STRINGS, frozenset({Operator.HAS, Operator.EQ}))
"""A list of texts, compared element by element."""

STRING_MAP: Final = FieldType(Kind.STRING_MAP, _EVERY)
"""A map from text to text: every value written is a text."""

MAP: Final = FieldType(Kind.MAP, _EVERY)
"""A map from text to texts, finite numbers, truth values and times."""


def enum(values: Iterable[str]) -> FieldType:
    """Return the type of fields that have one of these values, case-sensitive."""
    return FieldType(Kind.ENUM, _EQUALITY | {Operator.HAS}, tuple(str(each) for each in values))
