"""What a call is about, as far as its messages say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

_LARGEST: Final = 64 * 1024
_NAMES: Final = ("name", "subject")
# It names the call, not what the call is about.
_REQUEST_ID: Final = "request_id"
_OUTPUT_ONLY: Final = field_behavior_pb2.OUTPUT_ONLY


def resource_requested(method: str, received: object) -> str:
    """Return what a request names, parted by spaces; empty if it names nothing.

    That is the texts of the fields `…_id`, `name` and `subject` of the request and of its one
    message field. Also empty if the bytes are no such request, are more than 64 KiB, or stream.
    """
    if not isinstance(received, bytes) or len(received) > _LARGEST:
        return ""
    try:
        request = _request_class(method).FromString(received)
    except DecodeError:
        return ""
    return " ".join(_texts(request, outward=False))


def resource_answered(answer: object) -> str:
    """Return what an answer names likewise, and by `id`: what the call has made."""
    return " ".join(_texts(answer, outward=True)) if isinstance(answer, Message) else ""


def _texts(message: Message, *, outward: bool) -> list[str]:
    texts = list(_named(message, outward=outward))
    inner = [
        value
        for field, value in message.ListFields()
        if field.message_type is not None
        and not field.is_repeated
        and field.message_type.file.package != "google.protobuf"
    ]
    if len(inner) == 1:
        texts += _named(inner[0], outward=outward)
    return list(dict.fromkeys(texts))


def _named(message: Message, *, outward: bool) -> Iterator[str]:
    for field, value in message.ListFields():
        if _names_something(field, outward):
            yield value


@cache
def _names_something(field: FieldDescriptor, outward: bool) -> bool:
    if field.type != FieldDescriptor.TYPE_STRING or field.is_repeated or field.name == _REQUEST_ID:
        return False
    if outward:
        return field.name == "id" or field.name.endswith("_id")
    # What a caller writes into a field that only the mesh sets is not heeded.
    behaviour = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return _OUTPUT_ONLY not in behaviour and (field.name.endswith("_id") or field.name in _NAMES)


@cache
def _request_class(method: str) -> type[Message]:
    _, service, name = method.split("/")
    described = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return message_factory.GetMessageClass(described.input_type)
