"""What a filter says, as a tree of typed conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID


class Operator(StrEnum):
    """How a value is compared."""

    EQ = "="
    NE = "!="
    LE = "<="
    LT = "<"
    GE = ">="
    GT = ">"
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Prefix:
    """Every text that starts with `text`; with EQ and NE only."""

    text: str


Value: TypeAlias = str | Prefix | bool | int | float | datetime | UUID
"""What a field is compared with, of the type that the field has."""

EntryValue: TypeAlias = str | Prefix | bool | Decimal | datetime
"""What an entry of a map is compared with."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The field has a value, and it compares so; never HAS."""

    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Entry:
    """The map has the key, and what is there compares so; never HAS."""

    field: str
    key: str
    operator: Operator
    value: EntryValue


@dataclass(frozen=True, slots=True)
class Present:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class HasKey:
    """The map has the key, with whatever value."""

    field: str
    key: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The list holds the element."""

    field: str
    element: str


@dataclass(frozen=True, slots=True)
class Not:
    """The term is not true."""

    term: Filter


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more terms are true."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more terms is true."""

    terms: tuple[Filter, ...]


Filter: TypeAlias = Comparison | Entry | Present | HasKey | Contains | Not | And | Or
"""A condition on a resource: true or false of each, never unknown."""
