"""Terms: what few of all tasks have in common, as digests that an index can be walked by.

Equal terms of one tenant have equal digests; others hardly ever do, so what is
found by a digest is looked at once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from meshkit.filtering import Comparison, Entry, Filter, Operator, time_text
from services.task.domain.task import Scalar, Task

_SEPARATOR = "\x01"


def terms_of(task: Task) -> Iterator[int]:
    """Digest all terms of a task."""
    yield from terms_of_given(task.tenant, task.labels, task.attributes, task.replay_of)


def terms_of_given(
    tenant: str,
    labels: Mapping[str, str] | None,
    attributes: Mapping[str, Scalar] | None,
    replay_of: UUID | None = None,
) -> Iterator[int]:
    """Digest the terms that a task has by what it was given."""
    for key, label in (labels or {}).items():
        yield _digest(tenant, "labels", key, label)
    for key, attribute in (attributes or {}).items():
        yield _digest(tenant, "attributes", key, attribute)
    if replay_of is not None:
        yield _digest(tenant, "replay_of", "", replay_of)


def term_of(tenant: str, condition: Filter) -> int | None:
    """Digest the term that a task must have for a condition to be true of it, if there is one."""
    match condition:
        case Entry(field, key, Operator.EQ, str() | bool() | Decimal() | datetime() as value):
            return _digest(tenant, field, key, value)
        case Comparison("replay_of", Operator.EQ, UUID() as value):
            return _digest(tenant, "replay_of", "", value)
        case _:
            return None


def _digest(tenant: str, field: str, key: str, value: object) -> int:
    text = _SEPARATOR.join((tenant, field, key, *_written(value)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _written(value: object) -> tuple[str, str]:
    match value:
        case bool():
            return "boolean", str(value)
        case int() | float() | Decimal():
            # Numbers are stored as doubles; zero has one sign.
            return "number", repr(float(value) + 0.0)
        case datetime():
            return "text", time_text(value)
        case _:
            return "text", str(value)
