"""Reads filters. The grammar stands in the docstring of the package."""

from __future__ import annotations

from typing import Final

from meshkit.errors import InvalidArgument
from meshkit.filtering.fields import Fields, FieldType, Kind
from meshkit.filtering.literals import read_entry, read_value
from meshkit.filtering.scanner import Literal, Scanner
from meshkit.filtering.tree import (
    And,
    Comparison,
    Contains,
    Entry,
    EntryValue,
    Filter,
    HasKey,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
    Value,
)

MAX_TERMS: Final = 32
"""Most comparisons in a filter."""

MAX_DEPTH: Final = 8
"""Most parentheses within one another."""

_PREFIX_OPERATORS: Final = (Operator.EQ, Operator.NE)


def parse(expression: str, fields: Fields) -> Filter | None:
    """Read a filter on these fields; None if it is blank, which selects everything.

    Raises:
        InvalidArgument: It can't be read, names an unknown field, compares a field by what
            its type doesn't allow, or is too large. The message says where, and what is allowed.
    """
    return _Parser(expression, fields).filter()


class _Parser:
    """Descends the grammar, a method for each rule."""

    def __init__(self, expression: str, fields: Fields) -> None:
        self._scanner = Scanner(expression, fields)
        self._fields = fields
        self._terms = 0
        self._depth = 0
        if "\0" in expression:
            raise self._scanner.wrong(
                "it holds a NUL character (U+0000); leave it out", expression.index("\0")
            )

    def filter(self) -> Filter | None:
        if self._scanner.at_end():
            return None
        expression = self._expression()
        if not self._scanner.at_end():
            raise self._scanner.wrong("expected AND, OR or the end")
        return expression

    def _expression(self) -> Filter:
        factors = [self._factor()]
        while self._scanner.take_keyword("AND"):
            factors.append(self._factor())
        return factors[0] if len(factors) == 1 else And(tuple(factors))

    def _factor(self) -> Filter:
        terms = [self._term()]
        while self._scanner.take_keyword("OR"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self) -> Filter:
        if self._scanner.take_keyword("NOT") or self._scanner.take("-"):
            return Not(self._simple())
        return self._simple()

    def _simple(self) -> Filter:
        start = self._scanner.position
        if not self._scanner.take("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._scanner.wrong(f"more than {MAX_DEPTH} parentheses within another", start)
        expression = self._expression()
        if not self._scanner.take(")"):
            raise self._scanner.wrong("expected AND, OR or )")
        self._depth -= 1
        return expression

    def _comparison(self) -> Filter:
        start = self._scanner.position
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise self._scanner.wrong(f"more than {MAX_TERMS} comparisons")
        name = self._scanner.name()
        key = self._scanner.key()
        operator = self._scanner.operator()
        literal = self._scanner.literal()
        field_type = self._fields[name]
        if operator not in field_type.operators:
            allowed = ", ".join(each for each in Operator if each in field_type.operators)
            raise self._scanner.wrong(f"{name!r} is compared by {allowed}, not {operator}", start)
        if field_type.is_map:
            return self._in_map(name, key, operator, literal)
        if key is not None:
            raise self._scanner.wrong(f"{name!r} is {field_type.kind} and has no keys", start)
        if field_type.kind is Kind.STRINGS:
            return self._in_list(name, literal)
        return self._scalar(name, field_type, operator, literal)

    def _scalar(
        self, name: str, field_type: FieldType, operator: Operator, literal: Literal
    ) -> Filter:
        if operator is Operator.HAS:
            self._require_star(name, literal)
            # As AIP-160 has it, a text is there if it isn't empty.
            is_text = field_type.kind is Kind.STRING
            return Comparison(name, Operator.NE, "") if is_text else Present(name)
        if literal.open:
            self._require_texts(field_type.kind is Kind.STRING, operator, literal)
            return Comparison(name, operator, Prefix(literal.text))
        return Comparison(name, operator, self._value(field_type, literal))

    def _in_list(self, name: str, literal: Literal) -> Filter:
        if literal.open:
            raise self._wrong_at(literal, "a list is searched for whole elements, without *")
        return Contains(name, literal.text)

    def _in_map(self, name: str, key: str | None, operator: Operator, literal: Literal) -> Filter:
        if key is None:
            return self._has_key(name, operator, literal)
        if operator is Operator.HAS:
            if _is_star(literal):
                return HasKey(name, key)
            operator = Operator.EQ
        if literal.open:
            self._require_texts(True, operator, literal)
            return Entry(name, key, operator, Prefix(literal.text))
        value = self._entry_value(self._fields[name], literal)
        if isinstance(value, bool) and operator not in _PREFIX_OPERATORS:
            raise self._wrong_at(literal, "true and false are compared by = and != only")
        return Entry(name, key, operator, value)

    def _has_key(self, name: str, operator: Operator, literal: Literal) -> Filter:
        if operator is not Operator.HAS or literal.open:
            raise self._wrong_at(
                literal, f"{name!r} is a map: compare {name}.key, or ask {name}:key"
            )
        return HasKey(name, literal.text)

    def _value(self, field_type: FieldType, literal: Literal) -> Value:
        try:
            return read_value(field_type, literal.text)
        except ValueError as error:
            raise self._wrong_at(literal, str(error)) from None

    def _entry_value(self, field_type: FieldType, literal: Literal) -> EntryValue:
        if literal.quoted or field_type.kind is Kind.STRING_MAP:
            return literal.text
        try:
            return read_entry(literal.text)
        except ValueError as error:
            raise self._wrong_at(literal, str(error)) from None

    def _require_star(self, name: str, literal: Literal) -> None:
        if not _is_star(literal):
            raise self._wrong_at(literal, f"a colon asks whether there is a value: {name}:*")

    def _require_texts(self, are_texts: bool, operator: Operator, literal: Literal) -> None:
        if not are_texts or operator not in _PREFIX_OPERATORS:
            raise self._wrong_at(literal, "a * is for texts, compared by = and !=")

    def _wrong_at(self, literal: Literal, problem: str) -> InvalidArgument:
        return self._scanner.wrong(problem, literal.position)


def _is_star(literal: Literal) -> bool:
    return literal.open and not literal.text and not literal.quoted
