"""Tables of the auth database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Holds the metadata; column types follow the annotations."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        list[str]: ARRAY(Text),
    }


class ApiKeyRow(Base):
    """An API key; `digest` is the HMAC of its secret."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    display_name: Mapped[str]
    roles: Mapped[list[str]]
    subject: Mapped[str]
    digest: Mapped[bytes]
    creator: Mapped[str]
    create_time: Mapped[datetime]
    expire_time: Mapped[datetime | None]
    revoke_time: Mapped[datetime | None]


class SigningKeyRow(Base):
    """A key pair that signs access tokens; the private key is sealed under the master key."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    sealed_private_key: Mapped[bytes]
    public_key: Mapped[bytes]
    create_time: Mapped[datetime]
