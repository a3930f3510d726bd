"""Policies, from and to messages: their fields have the same names on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from google.protobuf.duration_pb2 import Duration as DurationMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from agentmesh.policies import Duration, Policy

P = TypeVar("P", bound=Policy)

# The prefixes that the contract's enums have and Python's words do without.
_PREFIXES: Final = {"strategy": "STRATEGY_", "condition": "CONDITION_"}


def fill(message: Message, policy: Policy) -> None:
    """Set a message's fields to those of a policy; what is at its default stays unset."""
    message.SetInParent()
    for each in fields(policy):
        value = getattr(policy, each.name)
        if value is None or (isinstance(value, Sized) and not value):
            continue
        _set(message, each.name, value)


def read(message: Any, type_: type[P]) -> P:
    """Return the policy that a message holds."""
    values = {each.name: _get(message, each.name) for each in fields(type_)}
    return type_(**values)


def set_duration(message: DurationMessage, duration: Duration) -> None:
    """Set a duration."""
    if isinstance(duration, timedelta):
        message.FromTimedelta(duration)
    else:
        message.FromNanoseconds(round(duration * 1e9))


def set_time(message: Timestamp, time: datetime) -> None:
    """Set a time.

    Raises:
        ValueError: It names no time zone, so it could be any of two dozen times.
    """
    if time.tzinfo is None:
        raise ValueError(
            f"{time} is in no time zone: write datetime.now(UTC) + …, or time.astimezone()"
        )
    message.FromDatetime(time)


def _set(message: Any, name: str, value: Any) -> None:
    target = getattr(message, name)
    if isinstance(target, DurationMessage):
        set_duration(target, value)
    elif name in _PREFIXES:
        enum = message.DESCRIPTOR.fields_by_name[name].enum_type
        setattr(message, name, enum.values_by_name[f"{_PREFIXES[name]}{value}"].number)
    elif isinstance(value, Mapping):
        target.update(value)
    elif isinstance(value, str | int | float):
        setattr(message, name, value)
    else:
        target.extend(value)


def _get(message: Any, name: str) -> Any:
    value = getattr(message, name)
    if isinstance(value, DurationMessage):
        return value.ToTimedelta() if message.HasField(name) else None
    if name in _PREFIXES:
        enum = message.DESCRIPTOR.fields_by_name[name].enum_type
        # Unset means the first that has a meaning.
        return enum.values_by_number[value or 1].name.removeprefix(_PREFIXES[name])
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str | int | float) else tuple(value)
