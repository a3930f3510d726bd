"""Tables of the task database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, func
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata; column types follow the annotations."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        dict[str, str]: JSONB,
    }


class TaskRow(Base):
    """A task and its running or last attempt."""

    __tablename__ = "tasks"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    capability: Mapped[str]
    input: Mapped[bytes]
    priority: Mapped[int]
    labels: Mapped[dict[str, str]]
    max_attempts: Mapped[int]
    state: Mapped[str]
    attempt: Mapped[int]
    epoch: Mapped[int]
    agent_id: Mapped[UUID | None]
    agent_name: Mapped[str]
    progress_fraction: Mapped[float | None]
    progress_message: Mapped[str | None]
    result: Mapped[bytes | None]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    creator: Mapped[str]
    request_id: Mapped[str | None]
    request_digest: Mapped[bytes | None]
    create_time: Mapped[datetime]
    ready_time: Mapped[datetime]
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    lease_expire_time: Mapped[datetime | None]
    last_sequence: Mapped[int]


class TaskEventRow(Base):
    """A change of a task; sequences of a task run from 1 without gaps."""

    __tablename__ = "task_events"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    time: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    state: Mapped[str]
    attempt: Mapped[int]
    agent_id: Mapped[UUID | None]
    progress_fraction: Mapped[float | None]
    progress_message: Mapped[str | None]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
