"""Free-form data in messages: how large it may be, and that it can be written as JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from google.protobuf.struct_pb2 import Struct, Value

from meshkit.errors import FieldViolation, InvalidArgument

MOST_BESIDE: Final = 256 << 10
"""Bytes of what is kept beside a task's input and result: checkpoints, questions, answers."""

MOST_INLINE: Final = 1 << 20
"""Bytes of an input or a result that is carried along."""

# The tag of a number within a Value, and a double with all bits of the exponent set. Other data may
# look the same, though hardly any does.
_NOT_FINITE: Final = re.compile(rb"\x11[\x00-\xff]{6}[\xf0-\xff][\x7f\xff]")


def may_be_no_json(serialized: bytes) -> bool:
    """Tell whether a message may hold NaN or an infinity, at a glance."""
    return _NOT_FINITE.search(serialized) is not None


def faults_of(
    field: str, data: Struct | Value, most: int, *, remedy: str = ""
) -> list[FieldViolation]:
    """Blame a field whose data is too large, or which can't be written as JSON.

    `remedy` is what to do with larger data, as the end of the sentence.
    """
    size = data.ByteSize()
    if size > most:
        return [FieldViolation(field, f"has {size} bytes; at most {most} are accepted{remedy}")]
    return [] if _is_json(data, data.SerializeToString()) else [_no_json(field)]


def check_value(field: str, data: Struct | Value, most: int) -> None:
    """Refuse data that is too large, or can't be written as JSON.

    Raises:
        InvalidArgument: It is.
    """
    for fault in faults_of(field, data, most):
        raise InvalidArgument(f"{fault.field}: {fault.description}", violations=(fault,))


def check_json(field: str, data: Struct, serialized: bytes) -> None:
    """Refuse data that can't be written as JSON.

    Raises:
        InvalidArgument: It can't.
    """
    if not _is_json(data, serialized):
        fault = _no_json(field)
        raise InvalidArgument(f"{fault.field}: {fault.description}", violations=(fault,))


def _no_json(field: str) -> FieldViolation:
    return FieldViolation(field, "holds NaN or an infinity, which JSON can't")


def _is_json(data: Struct | Value, serialized: bytes) -> bool:
    return not may_be_no_json(serialized) or _is_finite(data)


def _is_finite(data: Struct | Value) -> bool:
    if isinstance(data, Struct):
        return _all_finite(data.fields.values())
    match data.WhichOneof("kind"):
        case "struct_value":
            return _all_finite(data.struct_value.fields.values())
        case "list_value":
            return _all_finite(data.list_value.values)
        case "number_value":
            return math.isfinite(data.number_value)
        case _:
            return True


def _all_finite(values: Iterable[Value]) -> bool:
    return all(map(_is_finite, values))
