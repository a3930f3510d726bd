"""Tables of the registry database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata; column types follow the annotations."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        dict[str, str]: JSONB,
    }


class AgentRow(Base):
    """An agent and its lease; whether it is online is judged when it is read."""

    __tablename__ = "agents"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    description: Mapped[str]
    labels: Mapped[dict[str, str]]
    create_time: Mapped[datetime]
    heartbeat_time: Mapped[datetime]
    lease_expire_time: Mapped[datetime]


class CapabilityRow(Base):
    """A capability of an agent; `position` is its place in the agent's list."""

    __tablename__ = "agent_capabilities"

    agent_id: Mapped[UUID] = mapped_column(
        ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    version: Mapped[str]
    description: Mapped[str]
    position: Mapped[int]
