"""The schema tables that the Lua program walks by."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, wrappers_pb2

from gateway.contracts import bindings
from gateway.json_check import WELL_KNOWN, add_message, lua_literal, program, schema


def test_fields_are_known_by_both_names() -> None:
    task = schema(bindings())["mesh.task.v1.Task"]
    assert task["max_attempts"] == task["maxAttempts"] == {"kind": "int32"}


def test_shapes() -> None:
    known = schema(bindings())
    task = known["mesh.task.v1.Task"]
    assert task["input"] == {"kind": "object"}
    assert task["result"] == {"kind": "value"}
    assert task["createTime"] == {"kind": "timestamp"}
    assert task["labels"] == {"kind": "map", "of": {"kind": "string"}}
    assert task["error"] == {"kind": "message", "message": "mesh.task.v1.TaskError"}
    assert task["state"]["kind"] == "enum"
    assert "TASK_STATE_QUEUED" in task["state"]["names"]
    capability = {"kind": "message", "message": "mesh.registry.v1.Capability"}
    capabilities = {"kind": "repeated", "of": capability}
    assert known["mesh.registry.v1.Agent"]["capabilities"] == capabilities


def test_every_message_that_a_shape_names_has_a_table() -> None:
    known = schema(bindings())
    for fields in known.values():
        for shape in fields.values():
            held = shape.get("of", shape)
            assert held["kind"] != "message" or held["message"] in known


def test_a_message_that_holds_itself_ends() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="tree.proto", package="t", syntax="proto3")
    node = file.message_type.add(name="Node")
    node.field.add(
        name="child",
        number=1,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        type_name=".t.Node",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    known: dict[str, dict[str, dict[str, object]]] = {}
    add_message(pool.FindMessageTypeByName("t.Node"), known)
    assert known == {"t.Node": {"child": {"kind": "message", "message": "t.Node"}}}


def test_well_known_types_with_a_json_form_of_their_own_are_listed() -> None:
    for file in (struct_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            assert message.full_name in WELL_KNOWN


def test_lua_literals_are_stable_and_quoted() -> None:
    assert lua_literal({"b": {"x": True}, "a": "y"}) == '{["a"]="y",["b"]={["x"]=true}}'
    with pytest.raises(ValueError, match="not a name"):
        lua_literal('"]]')
    with pytest.raises(TypeError, match="no Lua literal"):
        lua_literal(1.5)


def test_the_program_starts_with_its_tables() -> None:
    text = program(bindings())
    assert text.startswith('local SCHEMA = {["')
    assert text.index("local function check_json") < text.index("function envoy_on_request")
