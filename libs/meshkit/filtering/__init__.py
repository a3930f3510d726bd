r"""Filters of List requests: AIP-160, typed.

A service declares the fields that its resources may be filtered by; `parse` reads
the text of a request into a `Filter`; `matches` evaluates it in memory and `to_sql`
compiles it for PostgreSQL. The two agree on every row.

    FIELDS = {"state": enum(State), "create_time": TIME, "labels": STRING_MAP}
    wanted = parse('state = OPEN AND (labels.team = "red" OR -labels:team)', FIELDS)

The grammar is that of AIP-160, where OR binds tighter than AND, without functions
and without values that stand alone:

    filter     = [ expression ]
    expression = factor { "AND" factor }
    factor     = term { "OR" term }
    term       = [ "NOT" | "-" ] ( "(" expression ")" | comparison )
    comparison = member ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value
    member     = name [ "." ( key | quoted ) ]
    value      = quoted | bare
    name       = a lower-case letter, then lower-case letters, digits and "_"
    key        = letters, digits, "_" and "-"
    bare       = letters, digits and any of _ . : + - * / @ %
    quoted     = text in double or single quotes; "\" takes the next character as it is

A text that ends in `*` stands for every text that starts so: `name = "text.*"`;
`\*` is the character itself, which only a quoted text can write. `field:*` is true of
what has the field, `map:key` and `map.key:*` of what has the key, `map.key:value`
means `map.key = value`, and `list:value` (or `=`) is true of a list that holds the value.

What a field lacks makes each comparison false, `!=` too, and so NOT of it true:
`-team = red` selects what has no team, `team != red` doesn't. Texts are
ordered by code point, times compared to the microsecond.

In a map of any values the value's form tells what it is compared with: `3`, `true`
and `2026-01-31T09:00:00Z` are a number, a truth value and a time unless quoted; everything
else is a text. What is of another type is not equal, and neither before nor after.
"""

from meshkit.filtering.fields import (
    BOOLEAN,
    INTEGER,
    MAP,
    NUMBER,
    STRING,
    STRING_MAP,
    STRINGS,
    TIME,
    UUID,
    Fields,
    FieldType,
    Kind,
    enum,
)
from meshkit.filtering.literals import time_text
from meshkit.filtering.memory import matches
from meshkit.filtering.parser import MAX_DEPTH, MAX_TERMS, parse
from meshkit.filtering.sql import Columns, to_sql
from meshkit.filtering.tree import (
    And,
    Comparison,
    Contains,
    Entry,
    Filter,
    HasKey,
    Not,
    Operator,
    Or,
    Prefix,
    Present,
)

__all__ = [
    "BOOLEAN",
    "INTEGER",
    "MAP",
    "MAX_DEPTH",
    "MAX_TERMS",
    "NUMBER",
    "STRING",
    "STRINGS",
    "STRING_MAP",
    "TIME",
    "UUID",
    "And",
    "Columns",
    "Comparison",
    "Contains",
    "Entry",
    "FieldType",
    "Fields",
    "Filter",
    "HasKey",
    "Kind",
    "Not",
    "Operator",
    "Or",
    "Prefix",
    "Present",
    "enum",
    "matches",
    "parse",
    "time_text",
    "to_sql",
]
