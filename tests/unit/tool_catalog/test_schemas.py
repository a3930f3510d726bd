"""Which JSON Schemas the catalogue accepts."""

from __future__ import annotations

from typing import Any

import pytest

from services.tool_catalog.errors import SchemaInvalid
from services.tool_catalog.schemas import (
    DIALECT,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PATTERNS,
    check_input_schema,
    check_schema,
    pointer,
)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": DIALECT},
        {"$schema": DIALECT + "#"},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$dynamicRef": "#b", "$dynamicAnchor": "b"}}},
        {"const": {"$ref": "http://x.test"}, "examples": [{"$ref": "elsewhere"}]},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
        {"minLength": 5.0, "maximum": 1e308},
        {"pattern": "^(?=.*[a-z])\\p{L}{1,50}$"},
        {"x-vendor": {"anything": [1, None]}},
        nested(MAX_DEPTH),
        {"description": "x" * (MAX_BYTES - len('{"description":""}'))},
    ],
)
def test_a_good_schema_is_accepted(schema: dict[str, Any]) -> None:
    check_schema(schema, "tool.output_schema")


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"type": "objct"}, "#/type"),
        ({"properties": {"a/b": {"minLength": -1}}}, "#/properties/a~1b/minLength"),
        ({"items": [{}]}, "#/items"),
        ({"required": ["a", "a"]}, "#/required"),
        ({"pattern": "("}, "#/pattern"),
        ({"pattern": "((a{100}){100}){100}"}, "#/pattern"),
        ({"$ref": "http://x.test/schema"}, "#/$ref"),
        ({"allOf": [{}, {"$dynamicRef": "other.json"}]}, "#/allOf/1/$dynamicRef"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "#/$ref"),
        ({"properties": {"default": {"$ref": "http://x.test/schema"}}}, "#"),
        ({"$ref": "#/$defs/missing"}, "#"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "#/$schema"),
        ({"$schema": "http://x.test/mine"}, "#/$schema"),
        ({"$schema": ["x"]}, "#/$schema"),
        (nested(MAX_DEPTH + 1), "#" + "/not" * MAX_DEPTH),
        ({"description": "x" * MAX_BYTES}, "#"),
        ({"allOf": [{"pattern": f"a{n}"} for n in range(MAX_PATTERNS + 1)]}, "#"),
        ({"patternProperties": {f"a{n}": {} for n in range(MAX_PATTERNS + 1)}}, "#"),
    ],
)
def test_a_bad_schema_is_refused_with_the_path_to_the_fault(
    schema: dict[str, Any], where: str
) -> None:
    with pytest.raises(SchemaInvalid) as refused:
        check_schema(schema, "tool.output_schema")
    assert f" at {where}: " in refused.value.message
    assert refused.value.violations[0].field == "tool.output_schema"
    assert len(refused.value.message) < 1000


@pytest.mark.parametrize("schema", [{}, {"type": "array"}, {"type": ["object", "null"]}])
def test_an_input_is_an_object(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaInvalid, match="#/type"):
        check_input_schema(schema, "tool.input_schema")


def test_a_pointer_escapes_what_rfc_6901_says() -> None:
    assert pointer(("properties", "a/b~c", 0)) == "#/properties/a~1b~0c/0"
    assert pointer(()) == "#"
