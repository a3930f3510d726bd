"""Tables of the auth database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
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
    scopes: Mapped[list[str]]
    per_second: Mapped[float | None]
    burst: Mapped[int | None]
    tenants: Mapped[list[str]]
    last_used_time: Mapped[datetime | None]
    use_count: Mapped[int]
    rerolled_from: Mapped[UUID | None]


class SigningKeyRow(Base):
    """A key pair that signs access tokens; the private key is sealed under the master key."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    sealed_private_key: Mapped[bytes]
    public_key: Mapped[bytes]
    create_time: Mapped[datetime]
    sign_time: Mapped[datetime]


class RoleBindingRow(Base):
    """Gives a role to a subject."""

    __tablename__ = "role_bindings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    subject: Mapped[str]
    role: Mapped[str]
    creator: Mapped[str]
    create_time: Mapped[datetime]


class ServiceCredentialRow(Base):
    """What the mesh proves itself with to an external service; `settings` is what is no secret."""

    __tablename__ = "service_credentials"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB)
    sealed_key: Mapped[bytes]
    sealed_secret: Mapped[bytes]
    create_time: Mapped[datetime]
    update_time: Mapped[datetime]


class UserRow(Base):
    """A user; `folded_email` is what its address has in common with those in other case."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    email: Mapped[str]
    folded_email: Mapped[str]
    display_name: Mapped[str]
    password_hash: Mapped[str | None]
    create_time: Mapped[datetime]
    last_login_time: Mapped[datetime | None]
    disable_time: Mapped[datetime | None]


class SessionRow(Base):
    """A session; `current` and `predecessor` are the digests of its refresh tokens."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    user_id: Mapped[UUID]
    create_time: Mapped[datetime]
    refresh_time: Mapped[datetime]
    expire_time: Mapped[datetime]
    address: Mapped[str]
    user_agent: Mapped[str]
    end_time: Mapped[datetime | None]
    reused: Mapped[bool]
    current: Mapped[bytes]
    predecessor: Mapped[bytes | None]
    replace_time: Mapped[datetime | None]


class RateLimitOverrideRow(Base):
    """The rate limit of a subject in place of the one that its roles give it."""

    __tablename__ = "rate_limit_overrides"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    per_second: Mapped[float]
    burst: Mapped[int]


class AuditRecordRow(Base):
    """A record of the audit log in its place of the tenant's chain."""

    __tablename__ = "audit_records"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    time: Mapped[datetime]
    subject: Mapped[str]
    actor: Mapped[str]
    method: Mapped[str]
    resource: Mapped[str]
    decision: Mapped[str]
    reason: Mapped[str]
    request_id: Mapped[str]
    address: Mapped[str]
    service: Mapped[str]
    hash: Mapped[str]


class AuditCheckpointRow(Base):
    """A signed statement of how far a tenant's chain had come."""

    __tablename__ = "audit_checkpoints"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key_id: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str]
    time: Mapped[datetime]
    signature: Mapped[str]
