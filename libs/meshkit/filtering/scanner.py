"""Takes a filter's text apart, and says where and how it is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from meshkit.errors import InvalidArgument
from meshkit.filtering.fields import Fields
from meshkit.filtering.tree import Operator

_SPACE: Final = re.compile(r"\s*")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_KEY: Final = re.compile(r"\w[\w-]*")
_BARE: Final = re.compile(r"[\w.:+\-*/@%]+")
_QUOTED: Final = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_CHARACTER: Final = re.compile(r"\\(.)|(.)", re.DOTALL)
_OPERATOR: Final = re.compile("|".join(Operator))
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})
_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it is written.

    Attributes:
        text: It, without quotes, escapes, and the `*` at its end.
        quoted: Whether it stands in quotes.
        open: Whether a `*` follows the text.
        position: Where it starts.
    """

    text: str
    quoted: bool
    open: bool
    position: int


class Scanner:
    """Reads a filter from left to right; spaces between its parts don't count."""

    def __init__(self, expression: str, fields: Fields) -> None:
        self._expression = expression
        self._fields = fields
        self.position = 0
        self._skip_space()

    def at_end(self) -> bool:
        """Tell whether all is read."""
        return self.position == len(self._expression)

    def take(self, mark: str) -> bool:
        """Read a mark such as `(` if it comes next."""
        if not self._expression.startswith(mark, self.position):
            return False
        self._advance(self.position + len(mark))
        return True

    def take_keyword(self, keyword: str) -> bool:
        """Read a keyword if it comes next, as a word of its own."""
        word = _KEY.match(self._expression, self.position)
        if word is None or word[0] != keyword:
            return False
        self._advance(word.end())
        return True

    def name(self) -> str:
        """Read the name of a field.

        Raises:
            InvalidArgument: There is no such field.
        """
        match = _NAME.match(self._expression, self.position)
        if match is None:
            raise self.wrong("expected a field")
        if match[0] not in self._fields:
            known = ", ".join(self._fields)
            raise self.wrong(f"there is no field {match[0][:64]!r} to filter by; there are {known}")
        self.position = match.end()
        return match[0]

    def key(self) -> str | None:
        """Read `.key` if it comes next, at once.

        Raises:
            InvalidArgument: After the dot there is no key, or a second dot follows.
        """
        key = None
        if self._expression.startswith(".", self.position):
            self.position += 1
            key = self._key()
            if self._expression.startswith(".", self.position):
                raise self.wrong('maps are flat; put a key with a dot in quotes: map."a.b"')
        self._skip_space()
        return key

    def operator(self) -> Operator:
        """Read an operator.

        Raises:
            InvalidArgument: There is none.
        """
        match = _OPERATOR.match(self._expression, self.position)
        if match is None:
            raise self.wrong(f"expected one of {', '.join(Operator)}")
        self._advance(match.end())
        return Operator(match[0])

    def literal(self) -> Literal:
        """Read a value.

        Raises:
            InvalidArgument: There is none, or a `*` stands elsewhere than at its end.
        """
        start = self.position
        text, stars = self._quoted() or self._bare()
        if stars and stars != [len(text) - 1]:
            raise self.wrong(
                r'a * stands for the rest of a text, at its end only; write "\*" for the character',
                start,
            )
        self._skip_space()
        quoted = self._expression[start] in "\"'"
        return Literal(text[:-1] if stars else text, quoted, bool(stars), start)

    def wrong(self, problem: str, position: int | None = None) -> InvalidArgument:
        """Make an error of what is wrong here, or at `position`."""
        at = self.position if position is None else position
        rest = self._expression[at : at + _SHOWN]
        place = f"at character {at + 1}, {rest!r}" if rest else "at the end"
        examples = [each.example(name) for name, each in self._fields.items()][:2]
        example = " AND ".join(examples)
        return InvalidArgument(
            f"Can't read the filter {place}: {problem}. Write for example: {example}",
            reason="INVALID_FILTER",
            field="filter",
        )

    def _key(self) -> str:
        quoted = self._quoted()
        if quoted is not None:
            return quoted[0]
        match = _KEY.match(self._expression, self.position)
        if match is None:
            raise self.wrong("expected a key")
        self.position = match.end()
        return match[0]

    def _quoted(self) -> tuple[str, list[int]] | None:
        match = _QUOTED.match(self._expression, self.position)
        if match is None:
            return None
        self.position = match.end()
        inner = match[1] if match[1] is not None else match[2]
        characters = list(_CHARACTER.finditer(inner))
        stars = [place for place, each in enumerate(characters) if each[2] == "*"]
        return "".join(each[1] or each[2] for each in characters), stars

    def _bare(self) -> tuple[str, list[int]]:
        match = _BARE.match(self._expression, self.position)
        if self._expression.startswith(('"', "'"), self.position):
            raise self.wrong("these quotes are not closed")
        if match is None or match[0] in _KEYWORDS:
            raise self.wrong("expected a value; put it in quotes unless it is a plain word")
        self.position = match.end()
        return match[0], [place for place, each in enumerate(match[0]) if each == "*"]

    def _advance(self, position: int) -> None:
        self.position = position
        self._skip_space()

    def _skip_space(self) -> None:
        match = _SPACE.match(self._expression, self.position)
        if match is not None:
            self.position = match.end()
