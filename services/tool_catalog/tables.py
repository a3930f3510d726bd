"""Tables of the tool catalogue's database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY, JSON, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata; column types follow the annotations."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        list[str]: ARRAY(Text),
        # Not jsonb, which changes numbers and refuses some strings: a schema comes back as sent.
        dict[str, Any]: JSON(none_as_null=True),
    }


class ToolRow(Base):
    """A version of a tool."""

    __tablename__ = "tools"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    version: Mapped[str]
    description: Mapped[str]
    capability: Mapped[str]
    input_schema: Mapped[dict[str, Any]]
    output_schema: Mapped[dict[str, Any] | None]
    tags: Mapped[list[str]]
    creator: Mapped[str]
    create_time: Mapped[datetime]
