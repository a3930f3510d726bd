"""Tables of the analytics database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Double, Integer, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata; column types follow the annotations."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        str: Text,
        int: Integer,
        float: Double,
        datetime: TIMESTAMP(timezone=True),
    }


class InvocationRow(Base):
    """An invocation; `queue_time` and `latency` are in seconds."""

    __tablename__ = "invocations"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    record_id: Mapped[UUID]
    task_id: Mapped[UUID]
    capability: Mapped[str]
    agent_id: Mapped[UUID | None]
    agent_name: Mapped[str]
    caller: Mapped[str]
    outcome: Mapped[str]
    error_type: Mapped[str]
    attempts: Mapped[int]
    queue_time: Mapped[float | None]
    latency: Mapped[float | None]
    end_time: Mapped[datetime]
