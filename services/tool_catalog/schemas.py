"""Which JSON Schemas the catalogue accepts.

They come from outside, so every check is bounded in what it may cost, nothing is
ever fetched, and the path in an error (a JSON Pointer, `#/properties/name`) leads
to the fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import jsonschema_rs

from services.tool_catalog.domain import Schema
from services.tool_catalog.errors import SchemaInvalid

MAX_BYTES: Final = 64 * 1024
"""Bytes of a schema, written as compact JSON."""

MAX_DEPTH: Final = 32
"""Levels of objects and arrays, the schema itself included."""

MAX_PATTERNS: Final = 32
"""Regular expressions in a schema: each may take 20 ms to compile, and nothing else runs then."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_MAX_PATTERN_BYTES: Final = 4 << 20
_PATTERN_OPTIONS: Final = jsonschema_rs.FancyRegexOptions(size_limit=_MAX_PATTERN_BYTES)
_MAX_QUOTED: Final = 256
_DATA: Final = ("const", "default", "enum", "examples")

Path = tuple[str | int, ...]
Node = tuple[Path, Any]


def check_input_schema(schema: Schema, field: str) -> None:
    """Check the schema of a tool's input, which is an object.

    Raises:
        SchemaInvalid: It is not acceptable; the error blames the request's `field`.
    """
    check_schema(schema, field)
    if schema.get("type") != "object":
        raise SchemaInvalid(field, "#/type", 'a tool\'s input is an object; write "type": "object"')


def check_schema(schema: Schema, field: str) -> None:
    """Check that a schema is valid JSON Schema 2020-12, self-contained and of a bounded size.

    Raises:
        SchemaInvalid: It is not acceptable; the error blames the request's `field`.
    """
    try:
        _check_size(schema)
        _check_dialect(schema)
        for path, node in _nodes(schema):
            _check_references(path, node)
        _check_patterns(schema)
        _check_validity(schema)
    except _Fault as fault:
        where, problem = _shortened(pointer(fault.path)), _shortened(fault.problem)
        raise SchemaInvalid(field, where, problem) from None


def pointer(path: Sequence[str | int]) -> str:
    """Write a path as a JSON Pointer in a fragment (RFC 6901), without percent-encoding."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{part}" for part in parts)


def _shortened(text: str) -> str:
    """Cut what quotes the schema: an error travels in a header, which is small."""
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"


class _Fault(Exception):
    def __init__(self, path: Sequence[str | int], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def _check_size(schema: Schema) -> None:
    size = len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_BYTES:
        raise _Fault((), f"it has {size} bytes; at most {MAX_BYTES} are accepted")
    for path, _ in _nodes(schema):
        if len(path) >= MAX_DEPTH:
            raise _Fault(path, f"it is nested deeper than {MAX_DEPTH} levels")


def _check_dialect(schema: Schema) -> None:
    dialect = schema.get("$schema", DIALECT)
    if dialect not in (DIALECT, f"{DIALECT}#"):
        raise _Fault(("$schema",), f"only {DIALECT} is accepted")


def _check_references(path: Path, node: Any) -> None:
    if not isinstance(node, dict) or any(part in _DATA for part in path):
        return
    for keyword in ("$ref", "$dynamicRef"):
        reference = node.get(keyword)
        if isinstance(reference, str) and not reference.startswith("#"):
            raise _Fault(
                (*path, keyword),
                f"{reference!r} leads out of the schema; only references that begin with #"
                " are accepted",
            )


def _check_patterns(schema: Schema) -> None:
    count = sum(_patterns_in(node) for _, node in _nodes(schema))
    if count > MAX_PATTERNS:
        raise _Fault((), f"it has {count} regular expressions; at most {MAX_PATTERNS} are accepted")


def _patterns_in(node: Any) -> int:
    if not isinstance(node, dict):
        return 0
    by_name = node.get("patternProperties")
    return isinstance(node.get("pattern"), str) + (len(by_name) if isinstance(by_name, dict) else 0)


def _check_validity(schema: Schema) -> None:
    """Build the validator of the schema, which also finds dangling references and bad patterns."""
    try:
        jsonschema_rs.Draft202012Validator(
            dict(schema), retriever=_refuse, pattern_options=_PATTERN_OPTIONS
        )
    except jsonschema_rs.ValidationError as error:
        path = error.instance_path
        if path and isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Format):
            raise _Fault(path, "the regular expression is malformed or too large") from None
        raise _Fault(path, error.message) from None


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not part of the schema")


def _nodes(schema: Schema) -> Iterator[Node]:
    """Walk over the objects and arrays of a schema, itself first."""
    pending: list[Node] = [((), schema)]
    while pending:
        path, node = pending.pop()
        yield path, node
        children = node.items() if isinstance(node, dict) else enumerate(node)
        pending.extend(
            ((*path, key), child) for key, child in children if isinstance(child, dict | list)
        )
