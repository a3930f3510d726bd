"""From the text of a value to the value, by the type of its field."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from meshkit.filtering.fields import FieldType, Kind
from meshkit.filtering.tree import EntryValue, Value

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_INT64: Final = range(-(2**63), 2**63)
_SHOWN: Final = 64
_BOOLEANS: Final = {"true": True, "false": False}


def read_value(field_type: FieldType, text: str) -> Value:
    """Read the value of a field that is neither a list nor a map.

    Raises:
        ValueError: It is not of the field's type.
    """
    if field_type.kind is Kind.ENUM:
        return _name(field_type, text)
    return _READERS[field_type.kind](text)


def read_entry(text: str) -> EntryValue:
    """Read the value of a map's entry, whose form tells its type.

    Raises:
        ValueError: It is `null`, which no value is.
    """
    if text == "null":
        raise ValueError("no value is null; ask for the key with a colon, or quote the text")
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for reader in (_decimal, _time):
        try:
            return reader(text)
        except ValueError:
            continue
    return text


def time_text(moment: datetime) -> str:
    """Write a time as maps store it: in UTC to the microsecond, so that texts order as times do.

    For example `2026-01-31T09:00:00.000000Z`.
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _name(field_type: FieldType, text: str) -> str:
    if text not in field_type.values:
        raise ValueError(f"{_shown(text)} is not one of {', '.join(field_type.values)}")
    return text


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None or int(text) not in _INT64:
        raise ValueError(f"{_shown(text)} is not a whole number of up to 64 bits")
    return int(text)


def _number(text: str) -> float:
    return float(_decimal(text))


def _decimal(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None or math.isinf(float(text)):
        raise ValueError(f"{_shown(text)} is not a number of double precision")
    return Decimal(text)


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise ValueError(f"{_shown(text)} is neither true nor false")
    return _BOOLEANS[text]


def _time(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text) is not None:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{_shown(text)} is not a time such as 2026-01-31T09:00:00Z")


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is not a UUID") from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


_READERS: Final[Mapping[Kind, Callable[[str], Value]]] = {
    Kind.STRING: str,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.TIME: _time,
    Kind.UUID: _uuid,
}
