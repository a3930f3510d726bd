"""Tables of the task database that queries are composed on; the rest is plain SQL."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

METADATA: Final = MetaData()


def _time(name: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _common() -> list[Column[Any]]:
    return [
        Column("id", Uuid, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("capability", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("priority", SmallInteger, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("max_attempts", Integer, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("creator", Text, nullable=False),
        _time("create_time", nullable=False),
        _time("ready_time", nullable=False),
        Column("last_sequence", BigInteger, nullable=False),
        Column("policy", Text),
        Column("parent_id", Uuid),
        Column("root_id", Uuid),
        Column("depth", SmallInteger, nullable=False),
        Column("replay_of", Uuid),
        Column("agent_id", Uuid),
        Column("agent_name", Text, nullable=False),
        Column("progress_fraction", Double),
        Column("progress_message", Text),
        Column("error_type", Text),
        Column("error_message", Text),
        Column("tokens", BigInteger, nullable=False),
        Column("cost", Double, nullable=False),
        _time("start_time"),
        Column("input", LargeBinary, nullable=False),
        Column("input_payload", LargeBinary),
        Column("labels", JSONB, nullable=False),
        Column("attributes", JSONB, nullable=False),
    ]


TASKS: Final = Table(
    "tasks",
    METADATA,
    *_common(),
    Column("lane", BigInteger, nullable=False),
    Column("blocked_by", Text),
    Column("awaits", Integer, nullable=False),
    Column("has_dependents", Boolean, nullable=False),
    Column("has_children", Boolean, nullable=False),
    Column("checkpoint", LargeBinary),
    Column("answer", LargeBinary),
    Column("pause", LargeBinary),
    _time("seen_time"),
    _time("lease_time"),
    _time("cancel_request_time"),
    _time("cancel_by"),
    _time("due_time"),
)
"""Tasks that have not ended."""

FINISHED_TASKS: Final = Table(
    "finished_tasks",
    METADATA,
    *_common(),
    Column("result", LargeBinary),
    Column("result_payload", LargeBinary),
    _time("end_time", nullable=False),
)
"""Tasks that have."""
