"""Filters that are equalities joined by AND, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from meshkit.errors import InvalidArgument

_TERM = re.compile(
    r"""\s*(?P<field>[a-z][a-z_]*)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[\w.:-]+))\s*"""
)
_AND = re.compile(r"AND\b")


def parse_filter(expression: str, fields: Collection[str]) -> Mapping[str, str]:
    """Read `a = x AND b = "y z"` into a mapping from field to value.

    Raises:
        InvalidArgument: The expression can't be read, or names a field not in
            `fields`, or one twice.
    """
    terms: dict[str, str] = {}
    position = 0
    while expression[position:].strip():
        if terms:
            position = _skip_and(expression, position)
        term = _TERM.match(expression, position)
        if term is None:
            raise _invalid(f"can't read the filter at {expression[position:][:32]!r}")
        field = term["field"]
        if field not in fields:
            raise _invalid(f"no field {field!r} to filter by; there are {', '.join(fields)}")
        if field in terms:
            raise _invalid(f"the filter names {field!r} twice")
        terms[field] = _value(term)
        position = term.end()
    return terms


def _skip_and(expression: str, position: int) -> int:
    conjunction = _AND.match(expression, position)
    if conjunction is None:
        raise _invalid(f"expected AND at {expression[position:][:32]!r}")
    return conjunction.end()


def _value(term: re.Match[str]) -> str:
    if term["bare"] is not None:
        return term["bare"]
    return re.sub(r"\\(.)", r"\1", term["quoted"])


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(
        f'{message}; write for example: state = RUNNING AND capability = "text.count"',
        reason="INVALID_FILTER",
        field="filter",
    )
