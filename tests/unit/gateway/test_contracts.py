"""What the gateway reads from the descriptors."""

from __future__ import annotations

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool

from gateway.contracts import bindings, descriptor_set, services, verb_and_template


def test_every_annotated_rpc_has_a_binding() -> None:
    annotated = {
        rpc.full_name
        for service in services()
        for rpc in service.methods()
        if rpc.GetOptions().HasExtension(annotations_pb2.http)
    }
    assert {binding.rpc.full_name for binding in bindings()} == annotated
    assert "mesh.task.v1.DispatchService.Dispatch" not in annotated


def test_bindings_tell_verb_path_and_body() -> None:
    create = next(found for found in bindings() if found.rpc.name == "CreateTask")
    assert (create.peer, create.verb, create.template, create.body) == (
        "task",
        "POST",
        "/api/v1/tasks",
        "task",
    )
    assert not create.streams_response
    watch = next(found for found in bindings() if found.rpc.name == "WatchTask")
    assert watch.streams_response


def test_all_paths_are_under_one_prefix() -> None:
    assert all(binding.template.startswith("/api/v1/") for binding in bindings())


def test_no_two_rpcs_share_a_verb_and_path() -> None:
    found = [(binding.verb, binding.template) for binding in bindings()]
    assert len(found) == len(set(found))


def test_custom_verbs_are_refused() -> None:
    rule = http_pb2.HttpRule(custom=http_pb2.CustomHttpPattern(kind="HEAD", path="/x"))
    with pytest.raises(ValueError, match="HTTP rule needs one of get"):
        verb_and_template(rule)


def test_descriptor_set_is_complete_and_in_order() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)  # fails where an import was not added before
    pool.FindServiceByName("mesh.task.v1.TaskService")
    pool.FindMessageTypeByName("google.rpc.BadRequest")
    assert descriptor_set() == descriptor_set()
